// Plots: the name of the dot under the pointer or in focus, written where nothing covers it; arrow keys step from dot to dot.
// The figures are in the page already and need none of this.
"use strict";
(() => {
  document.documentElement.classList.add("js");
  for (const plot of document.querySelectorAll(".plot")) {
    const callout = plot.querySelector(".callout"), wide = plot.viewBox.baseVal.width;
    const dots = [...plot.querySelectorAll(".pt")];
    for (const dot of dots) dot.querySelector("title").remove(); // the browser's own label would come on top
    const point = (dot) => {
      const x = dot.cx.baseVal.value, y = dot.cy.baseVal.value, right = x < wide / 2;
      callout.textContent = dot.getAttribute("aria-label");
      const long = callout.getComputedTextLength() + 4;
      callout.setAttribute("x", right ? Math.max(4, Math.min(x + 9, wide - long)) : Math.max(x - 9, Math.min(long, wide - 4)));
      callout.setAttribute("y", y < 30 ? y + 20 : y - 8);
      callout.setAttribute("text-anchor", right ? "start" : "end");
      plot.classList.add("pointed");
    };
    const leave = () => {
      callout.textContent = "";
      plot.classList.remove("pointed");
      if (dots.includes(document.activeElement)) point(document.activeElement);
    };
    for (const [position, dot] of dots.entries()) {
      dot.addEventListener("mouseenter", () => point(dot));
      dot.addEventListener("mouseleave", leave);
      dot.addEventListener("focus", () => point(dot));
      dot.addEventListener("blur", leave);
      dot.addEventListener("keydown", (event) => {
        const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
        const next = by && dots[position + by];
        if (!by) return;
        event.preventDefault();
        if (!next) return;
        dot.tabIndex = -1;
        next.tabIndex = 0;
        next.focus();
      });
    }
  }
})();
