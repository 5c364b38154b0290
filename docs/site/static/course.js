// What scrolls within the page can be reached with the keyboard, and says what it is.
function reachable() {
  for (const box of document.querySelectorAll(
    ".bd-article pre, .bd-article .output, .bd-article .pst-scrollable-table-container, mjx-container[display='true']",
  )) {
    if (box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 1) {
      box.tabIndex = 0;
    }
  }
}
addEventListener("load", reachable);
addEventListener("resize", reachable);
document.addEventListener("toggle", reachable, true);
