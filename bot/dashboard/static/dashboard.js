// What the pages do in a browser: theme, ages that count on, local times, copying, charts, and saying when the
// page is no longer kept up to date. Everything shown comes from the server; nothing here decides anything.
"use strict";

const root = document.documentElement;
const THEMES = ["", "light", "dark"];
const THEME_NAMES = { "": "as the system", light: "light", dark: "dark" };

function readTheme() {
  try {
    const kept = localStorage.getItem("alvh-theme") || "";
    return THEMES.includes(kept) ? kept : "";
  } catch {
    return ""; // a browser may refuse to keep anything
  }
}

function setTheme(theme) {
  if (theme) root.dataset.theme = theme;
  else delete root.dataset.theme;
  const button = document.getElementById("theme");
  if (button) button.setAttribute("aria-label", `Theme: ${THEME_NAMES[theme]}`);
  if (button) button.title = `Theme: ${THEME_NAMES[theme]}`;
}

setTheme(readTheme()); // before the page is drawn

function nextTheme() {
  const theme = THEMES[(THEMES.indexOf(readTheme()) + 1) % THEMES.length];
  try {
    localStorage.setItem("alvh-theme", theme);
  } catch {
    // it holds for this page then
  }
  setTheme(theme);
}

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

function duration(seconds) {
  let left = Math.max(0, Math.round(seconds));
  const parts = [];
  for (const [size, name] of UNITS) {
    if (left >= size) {
      parts.push(`${Math.floor(left / size)}\u00a0${name}`);
      left %= size;
    }
  }
  return parts.slice(0, 2).join(" ") || "0\u00a0s";
}

function countOn() {
  for (const item of document.querySelectorAll("time[data-age]")) {
    const text = `${duration(Date.now() / 1000 - Number(item.dataset.age))} ago`;
    if (item.textContent !== text) item.textContent = text;
  }
}

function nameLocalTimes() {
  for (const item of document.querySelectorAll("time[datetime]:not([title])")) {
    item.title = new Date(item.dateTime).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" });
  }
}

const drawn = new Map(); // id of a plot -> address of what it shows

async function draw(chart) {
  const plot = document.getElementById(chart.dataset.plot);
  const source = chart.dataset.src;
  if (!plot || !window.Plotly || drawn.get(plot.id) === source) return;
  drawn.set(plot.id, source);
  try {
    const answer = await fetch(source, { credentials: "same-origin" });
    if (!answer.ok) return;
    const figure = await answer.json();
    const narrow = plot.clientWidth < 520;
    if (narrow) figure.layout.margin = { l: 58, r: 6, t: 8, b: 40 };
    figure.layout.height = figure.layout.height || 400;
    await Plotly.react(plot, figure.data, figure.layout, { displayModeBar: false, responsive: true });
  } catch {
    drawn.delete(plot.id); // tried again with the next step
  }
}

function drawAll() {
  document.querySelectorAll(".chart").forEach(draw);
}

let silentSince = 0;

function heard() {
  silentSince = 0;
  document.getElementById("offline")?.setAttribute("hidden", "");
}

function lost() {
  silentSince = silentSince || Date.now();
  const bar = document.getElementById("offline");
  if (!bar || Date.now() - silentSince < 3000) return;
  const since = new Date(silentSince).toLocaleTimeString();
  bar.textContent = `Not kept up to date since ${since}: the dashboard does not answer. The bot may run all the same; alvh status says.`;
  bar.removeAttribute("hidden");
}

function arrived() {
  const main = document.getElementById("main");
  if (main?.dataset.title) document.title = main.dataset.title;
  countOn();
  nameLocalTimes();
  drawAll();
}

async function copy(button) {
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.classList.add("copied");
    setTimeout(() => button.classList.remove("copied"), 1200);
  } catch {
    button.title = "The browser does not let a page copy here";
  }
}

function signInByAddress() {
  const form = document.getElementById("sign-in");
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!form || !token) return;
  history.replaceState(null, "", location.pathname); // the token leaves the address bar
  form.elements.token.value = token;
  form.submit();
}

document.addEventListener("DOMContentLoaded", () => {
  setTheme(readTheme());
  document.getElementById("theme")?.addEventListener("click", nextTheme);
  document.addEventListener("click", (event) => {
    const button = event.target instanceof Element ? event.target.closest(".copy") : null;
    if (button) copy(button);
  });
  document.addEventListener("htmx:after:swap", arrived);
  document.addEventListener("htmx:after:request", heard);
  document.addEventListener("htmx:error", lost);
  setInterval(countOn, 1000);
  signInByAddress();
  arrived();
});
