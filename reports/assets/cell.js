"use strict";
// The learning curve of one cell.
{
  const page = JSON.parse(document.getElementById("data").textContent);
  const curves = page.curves.filter((own) => own.curve);
  const box = document.getElementById("curves");
  const along = document.getElementById("along");
  for (const [key, words] of Object.entries(ALONG)) {
    const option = new Option(words, key);
    option.disabled = !curves.some((own) => own.curve[key]?.length);
    along.append(option);
  }
  const draw = () => {
    const label = ALONG[along.value];
    charts.learning(box, curves, { along: along.value, label, scale: "score", rules: page.rules });
  };
  along.addEventListener("change", draw);
  draw();
}
