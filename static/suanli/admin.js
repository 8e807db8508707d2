// The select with search that Django's admin makes of a foreign key has no name for those who listen to the page: its label's.
const nameSelects = () => {
  for (const box of document.querySelectorAll(".select2-selection:not([data-named])")) {
    const select = box.closest(".select2-container").previousElementSibling;
    const label = select && select.id && document.querySelector(`label[for="${select.id}"]`);
    if (label) {
      box.dataset.named = "";
      for (const part of [box, box.querySelector("[role=textbox]")]) {
        if (part) {
          part.removeAttribute("aria-labelledby");
          part.setAttribute("aria-label", label.textContent.trim());
        }
      }
    }
  }
};
window.addEventListener("load", () => {
  nameSelects();
  new MutationObserver(nameSelects).observe(document.body, { childList: true, subtree: true });
});
