(() => {
  "use strict";
  const root = document.documentElement;
  const tip = document.getElementById("tip");
  const phone = matchMedia("(max-width: 700px)").matches;
  const all = (selector, within) => [...(within || document).querySelectorAll(selector)];

  // Light or dark: what the reader's system says, until the button is pressed.
  const button = document.getElementById("theme");
  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  button.hidden = false;
  button.onclick = () => { root.dataset.theme = dark() ? "light" : "dark"; };

  // Paper is white whatever the screen shows, and nothing on it is folded.
  let onScreen, folded = [];
  addEventListener("beforeprint", () => {
    onScreen = root.dataset.theme;
    root.dataset.theme = "light";
    folded = all("details:not([open])");
    folded.forEach((d) => { d.open = true; });
  });
  addEventListener("afterprint", () => {
    if (onScreen) root.dataset.theme = onScreen; else delete root.dataset.theme;
    folded.forEach((d) => { d.open = false; });
  });

  // Choices: a row of buttons for each `data-choices`; children marked with the key are shown or not.
  for (const box of all(".choose")) {
    const choices = JSON.parse(box.dataset.choices);
    if (!choices.length) continue;
    // Everything at once is a long way to scroll on a phone.
    const state = Object.fromEntries(choices.map(([key, , , first], i) => [key, first ?? (phone && i === 0 ? 0 : null)]));
    const bar = document.createElement("div");
    bar.className = "pick";
    const show = () => {
      for (const [key] of choices) {
        for (const b of all(`[data-for="${key}"]`, bar)) b.setAttribute("aria-pressed", String(b.value === String(state[key])));
      }
      for (const item of all(choices.map(([key]) => `[data-${key}]`).join(","), box)) {
        const out = choices.some(([key]) => state[key] !== null && item.dataset[key] !== undefined && item.dataset[key] !== String(state[key]));
        item.classList.toggle("off", out);
      }
    };
    for (const [key, label, options] of choices) {
      const group = document.createElement("div");
      const name = document.createElement("span");
      name.textContent = label;
      group.setAttribute("role", "group");
      group.setAttribute("aria-label", label);
      const row = document.createElement("p");
      [...options.map((text, i) => [text, i]), ["All", null]].forEach(([text, value]) => {
        const b = document.createElement("button");
        b.type = "button";
        b.textContent = text;
        b.value = String(value);
        b.dataset.for = key;
        b.onclick = () => { state[key] = value; show(); };
        row.append(b);
      });
      group.append(name, row);
      bar.append(group);
    }
    box.prepend(bar);
    show();
  }

  // Hover values. `title` elements serve readers without scripts; here they become tips that also work on touch.
  const place = (event) => {
    tip.hidden = false;
    const pad = 14, w = tip.offsetWidth, h = tip.offsetHeight;
    const x = event.clientX + pad + w > innerWidth ? event.clientX - pad - w : event.clientX + pad;
    tip.style.left = Math.max(4, x) + "px";
    tip.style.top = Math.max(4, Math.min(innerHeight - h - 4, event.clientY + pad)) + "px";
  };
  const hide = () => { tip.hidden = true; };
  for (const title of all("svg title")) {
    const element = title.parentNode, text = title.textContent;
    title.remove();
    if (element.closest("svg").dataset.x) continue;
    element.addEventListener("pointermove", (e) => { tip.textContent = text; place(e); });
    element.addEventListener("pointerleave", hide);
  }

  // Line charts: a cross-hair with the value of every line. The drawn paths are the data.
  const scale = (text) => {
    const [kind, min, max, from, to, format] = text.split(",");
    const f = kind === "sqrt" ? Math.sqrt : (v) => v, g = kind === "sqrt" ? (v) => v * v : (v) => v;
    const lo = f(+min), hi = f(+max);
    return { from: +from, to: +to, format, value: (p) => g(lo + (hi - lo) * (p - from) / (to - from)) };
  };
  const digits = (v) => v === 0 ? "0" : String(+v.toPrecision(3));
  const write = (v, format) => format === "percent" ? (v * 100).toFixed(1) + "%"
    : format === "delta" ? digits(v) + " (" + digits(v * 255) + "/255)"
    : format === "count" ? String(Math.round(v)) : digits(v);
  for (const svg of all("svg[data-x]")) {
    const x = scale(svg.dataset.x), y = scale(svg.dataset.y);
    const lines = all("path[data-n]", svg).map((path) => ({
      name: path.dataset.n,
      color: path.style.stroke,
      points: path.getAttribute("d").slice(1).split("L").map((p) => p.split(" ").map(Number)),
    }));
    if (!lines.length) continue;
    const cross = document.createElementNS("http://www.w3.org/2000/svg", "line");
    cross.setAttribute("class", "cross");
    cross.setAttribute("y1", y.from);
    cross.setAttribute("y2", y.to);
    cross.style.display = "none";
    svg.append(cross);
    const leave = () => { hide(); cross.style.display = "none"; };
    svg.addEventListener("pointerleave", leave);
    svg.addEventListener("pointermove", (event) => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      if (at.x < x.from - 4 || at.x > x.to + 4) return leave();
      let px = Math.min(Math.max(at.x, x.from), x.to);
      const knots = lines[0].points;
      if (knots.length <= 24) px = knots.reduce((a, b) => Math.abs(b[0] - px) < Math.abs(a[0] - px) ? b : a)[0];
      cross.setAttribute("x1", px);
      cross.setAttribute("x2", px);
      cross.style.display = "";
      tip.textContent = write(x.value(px), x.format);
      for (const line of lines) {
        const k = line.points.findIndex((p) => p[0] >= px - 0.06);
        if (k < 0) continue;
        const b = line.points[k], a = line.points[Math.max(0, k - 1)];
        const t = b[0] > a[0] ? (px - a[0]) / (b[0] - a[0]) : 1;
        const row = document.createElement("div"), dot = document.createElement("i");
        dot.style.background = line.color;
        row.append(dot, line.name + ": " + write(y.value(a[1] + (b[1] - a[1]) * t), y.format));
        tip.append(row);
      }
      place(event);
    });
  }
  addEventListener("scroll", hide, { passive: true });

  // The section being read, in the navigation.
  const links = new Map(all("nav .links a").map((a) => [a.hash.slice(1), a]));
  if ("IntersectionObserver" in window) {
    const watch = new IntersectionObserver((entries) => {
      for (const e of entries) if (e.isIntersecting) {
        links.forEach((a, id) => a.classList.toggle("here", id === e.target.id));
      }
    }, { rootMargin: "-25% 0px -70% 0px" });
    all("main > section[id]").forEach((s) => links.has(s.id) && watch.observe(s));
  }
})();
