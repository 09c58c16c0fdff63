"use strict";
// System, light, dark: colours follow `color-scheme`, so that is all there is to set.
{
  const words = { "light dark": "system", light: "light", dark: "dark" };
  const order = Object.keys(words);
  const button = document.getElementById("theme");
  const recall = () => {
    try { return localStorage.getItem("creditbench-theme"); } catch { return null; }
  };
  const keep = (scheme) => {
    try { localStorage.setItem("creditbench-theme", scheme); } catch { /* a private window keeps nothing */ }
  };
  const apply = (scheme) => {
    document.documentElement.style.colorScheme = scheme;
    button.textContent = `Theme: ${words[scheme]}`;
  };
  let scheme = order.includes(recall()) ? recall() : order[0];
  apply(scheme);
  button.hidden = false;
  button.addEventListener("click", () => {
    scheme = order[(order.indexOf(scheme) + 1) % order.length];
    apply(scheme);
    keep(scheme);
  });
}
