"use strict";

// Draws the fields of networks of two inputs from their weights. All text of the user comes as JSON and is set as
// textContent, never as HTML.
for (const figure of document.querySelectorAll("figure.field")) {
  const data = JSON.parse(figure.querySelector("script").textContent);
  const find = (name) => figure.querySelector(`.${name}`);
  const canvas = find("canvas"), context = canvas.getContext("2d"), slider = find("slider");
  const neurons = data.order.length;
  const on = new Array(neurons).fill(true);
  let output = 0;

  // Inputs at a point of the picture, u to the right and v downwards, both from 0 to 1.
  const inputs = (u, v) => {
    const [first, second] = data.picture ? [v, u] : [u, 1 - v];
    return [
      data.low[0] + first * (data.high[0] - data.low[0]),
      data.low[1] + second * (data.high[1] - data.low[1]),
    ];
  };

  const predict = ([x0, x1]) => {
    let sum = data.b0[output];
    for (let j = 0; j < neurons; j++) {
      if (!on[j]) continue;
      const z = data.A[0][j] + data.A[1][j] * x0 + data.A[2][j] * x1;
      sum += data.B[j][output] * (z > 0 ? z : data.slope * z);
    }
    return sum;
  };

  const draw = () => {
    const { width, height } = canvas;
    const image = context.createImageData(width, height);
    const [low, high] = data.ranges[output];
    let at = 0;
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        const value = predict(inputs((column + 0.5) / width, (row + 0.5) / height));
        const grey = Math.round(255 * Math.min(1, Math.max(0, (value - low) / (high - low))));
        image.data[at++] = grey;
        image.data[at++] = grey;
        image.data[at++] = grey;
        image.data[at++] = 255;
      }
    }
    context.putImageData(image, 0, 0);
    const count = on.filter(Boolean).length;
    find("count").textContent = `${count} of ${neurons}`;
    for (const line of find("creases").children) {
      line.classList.toggle("off", !on[Number(line.dataset.neuron)]);
    }
  };

  const describe = (number) => Number(number.toPrecision(5)).toString();

  const scale = () => {
    const [low, high] = data.ranges[output];
    find("low").textContent = describe(low);
    find("high").textContent = describe(high);
    find("name").textContent = data.outputs[output];
  };

  const boxes = [];
  const lines = new Map();
  for (const [j, u1, v1, u2, v2] of data.creases) {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    line.dataset.neuron = j;
    const ends = { x1: 100 * u1, y1: 100 * v1, x2: 100 * u2, y2: 100 * v2 };
    for (const [key, value] of Object.entries(ends)) line.setAttribute(key, value);
    lines.set(j, line);
    find("creases").append(line);
  }
  for (const j of data.order) {
    const label = document.createElement("label"), box = document.createElement("input");
    box.type = "checkbox";
    box.checked = true;
    box.addEventListener("change", () => {
      on[j] = box.checked;
      slider.value = on.filter(Boolean).length;
      draw();
    });
    const mark = (marked) => () => lines.get(j)?.classList.toggle("marked", marked);
    label.addEventListener("pointerenter", mark(true));
    label.addEventListener("pointerleave", mark(false));
    box.addEventListener("focus", mark(true));
    box.addEventListener("blur", mark(false));
    label.append(box, String(j));
    find("neurons").append(label);
    boxes.push(box);
  }

  slider.addEventListener("input", () => {
    data.order.forEach((j, place) => {
      on[j] = place < Number(slider.value);
      boxes[place].checked = on[j];
    });
    draw();
  });
  find("shown").addEventListener("change", (event) => {
    find("creases").classList.toggle("hidden", !event.target.checked);
  });
  const chosen = find("output");
  data.outputs.forEach((name, k) => chosen?.append(new Option(name, k)));
  chosen?.addEventListener("change", () => {
    output = Number(chosen.value);
    scale();
    draw();
  });
  find("drawing").addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    const point = inputs((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    const places = point.map((value, k) => `${data.inputs[k]} = ${describe(value)}`);
    find("value").textContent = `${places.join(", ")}: ${data.outputs[output]} = ${describe(predict(point))}`;
  });
  scale();
  draw();
}
