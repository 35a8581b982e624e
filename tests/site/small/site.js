// What the theme, MathJax and the players do in the book, as small as the checks allow. A page asks
// for a fault by the attribute data-fault of the element that has it.
const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");
const reduced = matchMedia("(prefers-reduced-motion: reduce)");
const setTheme = () => {
  root.dataset.theme = dark.matches && root.dataset.fault !== "light" ? "dark" : "light";
};
setTheme();
dark.addEventListener("change", setTheme);

function player(box) {
  const { fault } = box.dataset;
  const image = box.querySelector("img");
  const button = box.querySelector("button");
  const frames = [image.src, ...box.dataset.frames.split(" ")];
  let frame = 0,
    timer = 0;
  const next = () => {
    image.src = frames[(frame = (frame + 1) % frames.length)];
  };
  const start = () => {
    timer = setInterval(next, 1000 / box.dataset.fps);
  };
  const press = () => {
    if (reduced.matches && fault !== "hurried") next();
    else if (!timer) start();
    else if (fault !== "stuck") timer = clearInterval(timer) ?? 0;
  };
  if (fault === "restless") start();
  if (fault !== "dead") button.addEventListener("click", press);
}

function copyButton(block) {
  const button = Object.assign(document.createElement("button"), {
    className: "copybtn",
    textContent: "Copy",
  });
  const text = block.dataset.fault === "garbled" ? "something else" : block.textContent;
  if (block.dataset.fault === "dead") button.className = "copybtn";
  else button.addEventListener("click", () => navigator.clipboard.writeText(text));
  if (block.dataset.fault !== "bare") block.append(button);
}

function search() {
  const list = document.querySelector("#search-results ul");
  const query = new URLSearchParams(location.search).get("q");
  for (const [word, address] of Object.entries(JSON.parse(list.dataset.index)))
    if (query === word)
      list.insertAdjacentHTML("beforeend", `<li><a href="${address}">${word}</a></li>`);
  fetch("intro.html")
    .then((response) => response.text())
    .then((text) => new DOMParser().parseFromString(text, "text/html"));
}

document.addEventListener("DOMContentLoaded", () => {
  for (const formula of document.querySelectorAll("span.math:not([data-fault])"))
    formula.replaceChildren(
      Object.assign(document.createElement("mjx-container"), { textContent: formula.textContent }),
    );
  document.querySelectorAll(".gdl-player").forEach(player);
  document.querySelectorAll(".cell_input .highlight").forEach(copyButton);
  for (const image of document.querySelectorAll("img[data-fault=early]"))
    new Image().src = image.src;
  for (const trap of document.querySelectorAll("[data-fault=trap]"))
    trap.addEventListener("keydown", (event) => event.key === "Tab" && event.preventDefault());
  const dialog = document.querySelector("dialog");
  if (dialog.dataset.fault === "open")
    dialog.addEventListener("cancel", (event) => event.preventDefault());
  addEventListener("keydown", (event) => {
    if (!event.ctrlKey || event.key !== "k" || dialog.dataset.fault === "closed") return;
    event.preventDefault();
    dialog.showModal();
  });
  if (document.querySelector("#search-results")) search();
});
