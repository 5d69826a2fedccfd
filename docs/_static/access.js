// What screen readers and keyboards need and the theme and the gallery leave out or contradict.
document.addEventListener("DOMContentLoaded", () => {
  for (const button of document.querySelectorAll(".search-button__button"))
    button.setAttribute("aria-label", button.textContent.replace(/\s+/g, " ").trim());
  for (const toggle of document.querySelectorAll("nav.bd-links summary")) {
    const page = toggle.closest("li").querySelector("a");
    toggle.setAttribute("aria-label", `pages below ${page.textContent}`);
  }
  for (const card of document.querySelectorAll(".sphx-glr-thumbcontainer")) {
    const title = card.querySelector(".sphx-glr-thumbnail-title");
    const link = card.querySelector("a.reference");
    if (title && link) link.setAttribute("aria-label", title.textContent);
  }
  for (const formula of document.querySelectorAll(".formula"))
    if (formula.scrollWidth > formula.clientWidth) formula.tabIndex = 0;
});
