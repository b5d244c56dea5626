"use strict";
(() => {
  const plots = JSON.parse(document.getElementById("plots").textContent);
  const boxes = [...document.querySelectorAll("[data-plot]")];
  const dark = matchMedia("(prefers-color-scheme: dark)");

  const colours = (printing) => {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(name).trim();
    return printing
      ? { ink: "#000000", line: "#cccccc", panel: "#ffffff" }
      : { ink: of("--ink"), line: of("--line"), panel: of("--panel") };
  };

  const themed = (layout, printing) => {
    const { ink, line, panel } = colours(printing);
    const made = structuredClone(layout);
    made.font = { ...made.font, color: ink, size: 12, family: "system-ui, sans-serif" };
    made.paper_bgcolor = made.plot_bgcolor = "rgba(0,0,0,0)";
    made.hoverlabel = { bgcolor: panel, bordercolor: line, font: { color: ink }, align: "left" };
    made.dragmode = false;
    for (const name of Object.keys(made).filter((key) => /^[xy]axis\d*$/.test(key)))
      Object.assign(made[name], { gridcolor: line, zerolinecolor: line, fixedrange: true });
    for (const note of made.annotations ?? [])
      if (note.showarrow !== false) note.arrowcolor = ink;
    if (printing) Object.assign(made, { width: 640, autosize: false });
    return made;
  };

  const draw = (box, printing = false) => {
    const { data, layout } = plots[box.dataset.plot];
    return Plotly.react(box, data, themed(layout, printing), {
      displayModeBar: false,
      responsive: !printing,
    });
  };

  const all = (printing) => boxes.forEach((box) => draw(box, printing));
  all(false);
  dark.addEventListener("change", () => all(false));
  addEventListener("beforeprint", () => all(true));
  addEventListener("afterprint", () => all(false));
})();
