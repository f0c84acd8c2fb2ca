// What is wrong with the page as it is shown now: a list of `kind: what`. Called with true, it looks at colours only.
((colours) => {
  const faults = new Set();
  const tell = (kind, what) => faults.add(`${kind}: ${what.replace(/\s+/g, " ").trim().slice(0, 90)}`);
  const wide = document.documentElement.clientWidth;
  const printed = matchMedia("print").matches;

  // Any CSS colour as red, green, blue from 0 to 255 and alpha from 0 to 1.
  const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const rgba = (css) => {
    if (!known.has(css)) {
      paint.clearRect(0, 0, 1, 1);
      paint.fillStyle = "#000";
      paint.fillStyle = css;
      paint.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = paint.getImageData(0, 0, 1, 1).data;
      known.set(css, [r, g, b, a / 255]);
    }
    return known.get(css);
  };
  const over = ([r, g, b, a], back) => [r, g, b].map((v, i) => v * a + back[i] * (1 - a));
  const light = (color) => {
    const [r, g, b] = color.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };

  // The colour behind an element: backgrounds of everything around it, the outermost first.
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      const color = rgba(getComputedStyle(e).backgroundColor);
      if (color[3] > 0) layers.unshift(color);
      if (color[3] === 1) break;
    }
    return layers.reduce((back, layer) => over(layer, back), [255, 255, 255]);
  };
  const shapes = new Map();
  // Behind text in a drawing: also the shapes drawn before it that its middle lies on.
  const behindDrawn = (text, at) => {
    const svg = text.ownerSVGElement;
    let back = behind(svg);
    if (!shapes.has(svg)) shapes.set(svg, [...svg.querySelectorAll("rect,path,circle")]);
    for (const shape of shapes.get(svg)) {
      if (!(shape.compareDocumentPosition(text) & Node.DOCUMENT_POSITION_FOLLOWING)) break;
      const box = shape.getBoundingClientRect();
      if (at.x < box.left || at.x > box.right || at.y < box.top || at.y > box.bottom) continue;
      const style = getComputedStyle(shape);
      if (style.fill === "none") continue;
      const point = new DOMPoint(at.x, at.y).matrixTransform(shape.getScreenCTM().inverse());
      if (!shape.isPointInFill(point)) continue;
      const [r, g, b, a] = rgba(style.fill);
      back = over([r, g, b, a * style.fillOpacity * style.opacity], back);
    }
    return back;
  };

  // Every piece of text that is shown: its corners, and the element it belongs to.
  const pieces = [];
  const shown = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true, contentVisibilityAuto: false });
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  while (walker.nextNode()) {
    const node = walker.currentNode, element = node.parentElement;
    if (!node.data.trim() || element.closest("script,style,title,noscript") || !shown(element)) continue;
    const add = (corners, height) => pieces.push({ element, text: node.data.trim(), corners, height });
    if (element.ownerSVGElement) {
      const { x, y, width, height } = element.getBBox(), place = element.getScreenCTM();
      if (!place || !width) continue;
      // A line's box is taller than its letters.
      const [top, bottom] = [y + height * 0.2, y + height * 0.82];
      add([[x, top], [x + width, top], [x + width, bottom], [x, bottom]].map(([px, py]) => {
        const p = new DOMPoint(px, py).matrixTransform(place);
        return [p.x, p.y];
      }), height * Math.hypot(place.a, place.b));
    } else {
      range.selectNodeContents(node);
      for (const r of range.getClientRects()) {
        if (r.width < 1) continue;
        const [top, bottom] = [r.top + r.height * 0.2, r.bottom - r.height * 0.18];
        add([[r.left, top], [r.right, top], [r.right, bottom], [r.left, bottom]], r.height);
      }
    }
  }
  for (const p of pieces) {
    p.left = Math.min(...p.corners.map((c) => c[0]));
    p.right = Math.max(...p.corners.map((c) => c[0]));
    p.top = Math.min(...p.corners.map((c) => c[1]));
    p.bottom = Math.max(...p.corners.map((c) => c[1]));
  }
  if (!pieces.length) tell("empty", "no text is shown");

  // Contrast, as the Web Content Accessibility Guidelines 2.2 ask for at level AA.
  for (const p of pieces) {
    const style = getComputedStyle(p.element), drawn = p.element.ownerSVGElement;
    const at = { x: (p.left + p.right) / 2, y: (p.top + p.bottom) / 2 };
    const back = drawn ? behindDrawn(p.element, at) : behind(p.element);
    const found = contrast(over(rgba(drawn ? style.fill : style.color), back), back);
    const size = parseFloat(style.fontSize), large = size >= 24 || size >= 18.66 && style.fontWeight >= 700;
    if (found < (large ? 3 : 4.5) - 0.01) tell("contrast", `${found.toFixed(2)}: ${p.text} (${p.element.getAttribute("class") || p.element.tagName})`);
  }

  if (colours) return [...faults];

  // Clipped: beyond the page, a drawing, or a box that hides what is beyond it.
  const scrolls = (e) => e.closest(".scroll, nav .links, pre");
  if (document.documentElement.scrollWidth > wide + 1) tell("clipped", `the page is ${document.documentElement.scrollWidth} wide, the window ${wide}`);
  for (const p of pieces) {
    if (!scrolls(p.element) && (p.left < -1 || p.right > wide + 1)) tell("clipped", `beyond the page: ${p.text}`);
    const svg = p.element.ownerSVGElement;
    if (svg) {
      const box = svg.getBoundingClientRect();
      if (p.left < box.left - 2 || p.right > box.right + 2 || p.top < box.top - 2 || p.bottom > box.bottom + 2) {
        tell("clipped", `beyond its drawing (${svg.getAttribute("aria-label")}): ${p.text}`);
      }
    }
    for (let e = svg || p.element; e && e !== document.body; e = e.parentElement) {
      const style = getComputedStyle(e);
      if (style.overflowX === "visible" && style.overflowY === "visible" || style.overflowX === "auto") continue;
      const box = e.getBoundingClientRect();
      if (p.left < box.left - 1 || p.right > box.right + 1 || p.top < box.top - 1 || p.bottom > box.bottom + 1) tell("clipped", `hidden by its box: ${p.text}`);
    }
  }

  // Overlapping: two pieces of which no straight line keeps the corners apart.
  const apart = (a, b) => [a, b].some((shape) => shape.some(([x, y], i) => {
    const [nx, ny] = shape[(i + 1) % shape.length];
    const [dx, dy] = [y - ny, nx - x], long = Math.hypot(dx, dy) || 1;
    const side = (points) => points.map(([px, py]) => (px * dx + py * dy) / long);
    const [u, v] = [side(a), side(b)];
    return Math.max(...u) <= Math.min(...v) + 1 || Math.max(...v) <= Math.min(...u) + 1;
  }));
  const floating = (e) => e.closest("nav, #tip");
  const laid = pieces.filter((p) => !floating(p.element)).sort((a, b) => a.top - b.top);
  laid.forEach((a, i) => {
    for (let k = i + 1; k < laid.length && laid[k].top < a.bottom; k++) {
      const b = laid[k];
      if (b.left < a.right && a.left < b.right && !apart(a.corners, b.corners)) tell("overlapping", `${a.text.slice(0, 40)} / ${b.text.slice(0, 40)}`);
    }
  });

  // Too small to read. Drawings shrink with the window.
  for (const p of pieces) if (p.height < 9 && !printed) tell("small", `${p.height.toFixed(1)} pixels: ${p.text}`);

  // Headings go down one level at a time.
  let level = 0;
  for (const h of document.querySelectorAll("h1,h2,h3,h4,h5,h6")) {
    const own = +h.tagName[1];
    if (own > level + 1) tell("heading", `h${own} after h${level}: ${h.textContent}`);
    level = own;
  }
  if (document.querySelectorAll("h1").length !== 1) tell("heading", "not one h1");
  if (!document.documentElement.lang || !document.title) tell("heading", "no language or title");

  // What is folded is on paper all the same.
  if (printed) for (const d of document.querySelectorAll("details")) {
    if (!d.checkVisibility()) continue;
    const last = d.lastElementChild;
    if (!last.checkVisibility() || last.getBoundingClientRect().height < 1) tell("folded", d.querySelector("summary").textContent);
  }
  return [...faults];
})
