// Draws each <canvas class="structure"> from the JSON beside it. Drag or arrow keys turn it, + and - zoom, and so
// does the wheel with Ctrl held or after a click, until the pointer leaves; else the wheel scrolls the page. A double
// click resets. Orthographic; drawn back to front.
"use strict";
(function () {
  const turn = (axis, angle) => {
    const c = Math.cos(angle), s = Math.sin(angle);
    return axis === "x" ? [[1, 0, 0], [0, c, -s], [0, s, c]] : [[c, 0, s], [0, 1, 0], [-s, 0, c]];
  };
  const product = (m, n) => m.map((row) => [0, 1, 2].map((j) => row[0] * n[0][j] + row[1] * n[1][j] + row[2] * n[2][j]));
  const apply = (m, v) => m.map((row) => row[0] * v[0] + row[1] * v[1] + row[2] * v[2]);
  // rows: right, up, towards the eye
  const views = {
    home: product(product(turn("x", 0.22), turn("y", -0.42)), [[1, 0, 0], [0, 0, 1], [0, -1, 0]]),
    a: [[0, 1, 0], [0, 0, 1], [1, 0, 0]],
    b: [[-1, 0, 0], [0, 0, 1], [0, 1, 0]],
    c: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  };

  function start(canvas) {
    const scene = JSON.parse(document.getElementById(canvas.dataset.scene).textContent);
    const context = canvas.getContext("2d");
    const reach = Math.max(...scene.corners.concat(scene.atoms).map((p) => Math.hypot(p[0], p[1], p[2]))) + 0.5;
    let rotation = views.home, zoom = 1, held = null, waiting = false, chosen = false;

    function draw() {
      waiting = false;
      const ratio = Math.max(window.devicePixelRatio || 1, 2);
      const width = canvas.clientWidth || 320, height = canvas.clientHeight || 320;
      if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
        canvas.width = Math.round(width * ratio);
        canvas.height = Math.round(height * ratio);
      }
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.clearRect(0, 0, width, height);
      const scale = (zoom * Math.min(width, height)) / (2 * reach);
      const place = (p) => {
        const r = apply(rotation, p);
        return [width / 2 + r[0] * scale, height / 2 - r[1] * scale, r[2]];
      };
      const atoms = scene.atoms.map(place), corners = scene.corners.map(place);
      const parts = [];
      for (const [i, j, k, centre] of scene.faces) {
        const depth = (atoms[i][2] + atoms[j][2] + atoms[k][2]) / 3;
        parts.push([depth, () => face([atoms[i], atoms[j], atoms[k]], scene.elements[scene.atoms[centre][3]].colour)]);
      }
      for (const [i, j] of scene.bonds) {
        parts.push([(atoms[i][2] + atoms[j][2]) / 2 - 0.05, () => bond(i, j)]);
      }
      atoms.forEach((p, i) => parts.push([p[2], () => ball(p, scene.elements[scene.atoms[i][3]])]));
      for (let i = 0; i < 8; i++) {
        for (const bit of [1, 2, 4]) {
          if (!(i & bit)) parts.push([(corners[i][2] + corners[i | bit][2]) / 2, () => edge(corners[i], corners[i | bit])]);
        }
      }
      parts.sort((one, other) => one[0] - other[0]).forEach((part) => part[1]());
      compass(height);

      function line(from, to, colour, thick) {
        context.beginPath();
        context.moveTo(from[0], from[1]);
        context.lineTo(to[0], to[1]);
        context.strokeStyle = colour;
        context.lineWidth = thick;
        context.lineCap = "round";
        context.stroke();
      }
      function edge(from, to) { line(from, to, "#8a8f98", 1); }
      function bond(i, j) {
        const middle = [(atoms[i][0] + atoms[j][0]) / 2, (atoms[i][1] + atoms[j][1]) / 2];
        line(atoms[i], middle, scene.elements[scene.atoms[i][3]].colour, 0.16 * scale);
        line(middle, atoms[j], scene.elements[scene.atoms[j][3]].colour, 0.16 * scale);
      }
      function face(points, colour) {
        context.beginPath();
        points.forEach((p, i) => (i ? context.lineTo(p[0], p[1]) : context.moveTo(p[0], p[1])));
        context.closePath();
        context.globalAlpha = 0.16;
        context.fillStyle = colour;
        context.fill();
        context.globalAlpha = 1;
      }
      function ball(p, element) {
        const radius = element.radius * scale;
        const shade = context.createRadialGradient(p[0] - radius / 3, p[1] - radius / 3, radius / 8, p[0], p[1], radius);
        shade.addColorStop(0, "#ffffff");
        shade.addColorStop(0.35, element.colour);
        shade.addColorStop(1, element.colour);
        context.beginPath();
        context.arc(p[0], p[1], radius, 0, 2 * Math.PI);
        context.fillStyle = shade;
        context.fill();
        context.strokeStyle = "rgba(0,0,0,0.35)";
        context.lineWidth = 0.5;
        context.stroke();
      }
      function compass(bottom) {
        const origin = [28, bottom - 28];
        scene.axes.forEach((axis, i) => {
          const r = apply(rotation, axis);
          line(origin, [origin[0] + 18 * r[0], origin[1] - 18 * r[1]], "#7d828b", 1.4);
          context.fillStyle = "#7d828b";
          context.font = "italic 12px sans-serif";
          context.textAlign = "center";
          context.textBaseline = "middle";
          context.fillText("abc"[i], origin[0] + 25 * r[0], origin[1] - 25 * r[1]);
        });
      }
    }
    const redraw = () => { if (!waiting) { waiting = true; window.requestAnimationFrame(draw); } };
    const rotate = (dx, dy) => { rotation = product(product(turn("x", dy), turn("y", dx)), rotation); redraw(); };
    const magnify = (factor) => { zoom = Math.min(8, Math.max(0.4, zoom * factor)); redraw(); };
    const look = (name) => { rotation = views[name]; zoom = 1; redraw(); };
    canvas.addEventListener("pointerdown", (e) => {
      held = [e.clientX, e.clientY];
      chosen = true;
      canvas.setPointerCapture(e.pointerId);
    });
    canvas.addEventListener("pointermove", (e) => {
      if (!held) return;
      rotate((e.clientX - held[0]) / 120, (e.clientY - held[1]) / 120);
      held = [e.clientX, e.clientY];
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { held = null; });
    for (const end of ["pointerleave", "blur"]) canvas.addEventListener(end, () => { chosen = false; });
    canvas.addEventListener("wheel", (e) => {
      if (!chosen && !e.ctrlKey) return;
      e.preventDefault();
      magnify(Math.exp(-e.deltaY / 500));
    }, { passive: false });
    canvas.addEventListener("dblclick", () => look("home"));
    canvas.addEventListener("keydown", (e) => {
      const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] }[e.key];
      if (step) { e.preventDefault(); rotate(...step); }
      if (e.ctrlKey || e.metaKey) return;
      if (e.key === "+" || e.key === "-") magnify(e.key === "+" ? 1.1 : 1 / 1.1);
    });
    canvas.parentElement.querySelectorAll("button").forEach((b) => b.addEventListener("click", () => look(b.dataset.view)));
    window.addEventListener("resize", redraw);
    draw();
  }
  document.querySelectorAll("canvas.structure").forEach(start);
})();
