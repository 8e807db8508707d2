// The page's own refresh was answered by another page: the session has ended, and this is the sign-in. Go there.
document.addEventListener("htmx:beforeSwap", (event) => {
  const answered = new URL(event.detail.xhr.responseURL, location.href);
  const asked = new URL(event.detail.pathInfo.requestPath, location.href);
  if (answered.pathname !== asked.pathname) {
    event.detail.shouldSwap = false;
    location.reload();
  }
});
