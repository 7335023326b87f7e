// Counts <… data-left="seconds"> down to nothing, as H:MM:SS like the filter `duration` of the pages.

const began = Date.now();

export function written(seconds) {
  const two = (n) => String(n).padStart(2, "0");
  return `${Math.floor(seconds / 3600)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
}

function tick() {
  const passed = Math.floor((Date.now() - began) / 1000);
  for (const place of document.querySelectorAll("[data-left]")) {
    place.textContent = written(Math.max(0, Number(place.dataset.left) - passed));
  }
}

if (document.querySelector("[data-left]")) setInterval(tick, 1000);
