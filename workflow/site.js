// What moves on the site: the switch between light and dark on every page, and the search on search.html.
// Without JavaScript the reader's own setting decides the colours, and the index leads to every page.
"use strict";

function remembered(...theme) { // a browser may refuse a page from disk its storage
  try {
    return theme.length ? localStorage.setItem("theme", theme[0]) : localStorage.getItem("theme");
  } catch {
    return null;
  }
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function addSwitch() {
  const button = document.createElement("button");
  const name = () => { button.textContent = isDark() ? "Light" : "Dark"; };
  button.type = "button";
  button.title = "Switch between light and dark";
  button.onclick = () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    remembered(document.documentElement.dataset.theme);
    name();
  };
  name();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
  document.querySelector(".top").append(button);
}

// Sections that have every word: titles and headings count more than text.
function search(query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const score = ([, title, heading, text]) => {
    const parts = [[title, 8], [heading, 12], [text, 1]].map(([part, weight]) => [part.toLowerCase(), weight]);
    const points = words.map(word => parts.reduce((sum, [part, weight]) =>
      sum + weight * Math.min(part.split(word).length - 1, 5), 0));
    return points.every(Boolean) ? points.reduce((a, b) => a + b, 0) : 0;
  };
  const found = words.length ? SECTIONS.map(section => [score(section), section]).filter(([points]) => points) : [];
  return [words, found.sort((a, b) => b[0] - a[0]).map(([, section]) => section)];
}

// The text around the first word, every word marked.
function snippet(text, words) {
  const places = words.map(word => text.toLowerCase().indexOf(word)).filter(place => place >= 0);
  const start = places.length ? text.lastIndexOf(" ", Math.max(0, Math.min(...places) - 60)) + 1 : 0;
  const end = text.indexOf(" ", start + 200);
  const cut = (start ? "… " : "") + (end < 0 ? text.slice(start) : `${text.slice(start, end)} …`);
  const escaped = words.map(word => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const shown = document.createElement("p");
  cut.split(new RegExp(`(${escaped.join("|")})`, "i")).forEach((part, place) => {
    const node = place % 2 ? document.createElement("mark") : document.createElement("span");
    node.textContent = part;
    shown.append(node);
  });
  return shown;
}

function show(query) {
  const [words, found] = search(query), most = 40;
  document.getElementById("found").textContent = !words.length ? "Type words into the field above." :
    `${found.length} ${found.length === 1 ? "section has" : "sections have"} ${words.length > 1 ? "all these words" : "this word"}` +
    `${found.length > most ? `; the first ${most} are shown` : ""}.`;
  document.getElementById("hits").replaceChildren(...found.slice(0, most).map(([address, title, heading, text]) => {
    const item = document.createElement("li"), link = document.createElement("a");
    link.href = address;
    link.textContent = heading && heading !== title ? `${title} › ${heading}` : title;
    item.append(link, snippet(text, words));
    return item;
  }));
}

if (remembered()) document.documentElement.dataset.theme = remembered();
addEventListener("DOMContentLoaded", () => {
  addSwitch();
  if (!document.getElementById("hits")) return;
  const field = document.querySelector("[name=q]");
  field.value = new URLSearchParams(location.search).get("q") || "";
  field.oninput = () => show(field.value);
  field.form.onsubmit = () => false; // what is typed is shown already
  if (field.value) show(field.value); else field.focus();
});
