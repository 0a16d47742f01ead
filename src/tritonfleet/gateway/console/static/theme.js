// Light, dark, or what the system says. A classic script in the head, so that the page is never drawn in the wrong one.
"use strict";

(() => {
  const root = document.documentElement;

  function read() {
    try {
      return localStorage.getItem("theme") ?? "auto";
    } catch {
      return "auto"; // storage is off
    }
  }

  root.dataset.theme = read();

  document.addEventListener("DOMContentLoaded", () => {
    const select = document.getElementById("theme");
    select.value = root.dataset.theme;
    select.addEventListener("change", () => {
      root.dataset.theme = select.value;
      try {
        localStorage.setItem("theme", select.value);
      } catch {
        // it counts for this page view only
      }
      document.dispatchEvent(new Event("themechange"));
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      document.dispatchEvent(new Event("themechange"));
    });
  });
})();
