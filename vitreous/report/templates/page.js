"use strict";
(() => {
  const root = document.documentElement;
  const stored = () => { try { return localStorage.getItem("vitreous-theme"); } catch { return null; } };
  const store = (theme) => { try { localStorage.setItem("vitreous-theme", theme); } catch { /* private window */ } };
  if (["light", "dark"].includes(stored())) root.dataset.theme = stored();

  const isDark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

  function themeButton(button) {
    const show = () => {
      button.setAttribute("aria-label", isDark() ? "Switch to light colours" : "Switch to dark colours");
      button.title = button.getAttribute("aria-label");
    };
    button.hidden = false;
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      store(root.dataset.theme);
      show();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
    show();
  }

  function sortable(table) {
    const heads = [...table.tHead.rows[0].cells];
    const value = (row, column) => {
      const key = row.cells[column].dataset.value;
      return key === undefined ? row.cells[column].textContent.trim() : Number(key);
    };
    const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true }));
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const rising = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", rising ? "ascending" : "descending");
        const rows = [...table.tBodies[0].rows];
        rows.sort((a, b) => (rising ? 1 : -1) * compare(value(a, column), value(b, column)));
        table.tBodies[0].append(...rows);
      });
    });
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("button.theme").forEach(themeButton);
    document.querySelectorAll("table.sortable").forEach(sortable);
  });
})();
