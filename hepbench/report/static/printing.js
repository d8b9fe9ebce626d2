// What paper needs: all rows, their notes, nothing folded.

const PRINTED = element("div", { class: "printed" });

/** Write the notes of all rows below the table, each once with the names of its rows. */
function printNotes() {
  const found = new Map();
  for (const row of selectedRows())
    for (const note of row.notes || [])
      found.set(note, [
        ...(found.get(note) || []),
        `${CONTENT.tables[row.table].name} ${row.name}`,
      ]);
  const lines = [...found].slice(0, MOST_PRINTED).map(([note, names]) =>
    element(
      "li",
      {},
      `${note} `,
      element("small", {
        text: `(${names.slice(0, 8).join("; ")}${names.length > 8 ? "; \u2026" : ""})`,
      }),
    ),
  );
  PRINTED.replaceChildren(element("h3", { text: "Notes" }), element("ul", {}, lines));
}

/** Print all pages of the table, up to a limit, with notes, and what can be folded. */
function followPrinting() {
  let before = null;
  window.addEventListener("beforeprint", () => {
    before = { size: state.size, page: state.page };
    Object.assign(state, { size: MOST_PRINTED, page: 0 });
    renderTable();
    printNotes();
    document.querySelectorAll("#reading details, #origin details").forEach((each) => {
      each.open = true;
    });
  });
  window.addEventListener("afterprint", () => {
    if (before) Object.assign(state, before);
    PRINTED.replaceChildren();
    renderTable();
  });
}
