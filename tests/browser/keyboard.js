// Notes which controls the keyboard reaches, and whether it shows where it is. An expression, for `Runtime.evaluate`.
(() => {
  const shown = (e) => e.checkVisibility({ visibilityProperty: true, contentVisibilityAuto: false });
  const controls = [...document.querySelectorAll("a[href],button,summary,input,select,textarea,[role=button],[onclick],[tabindex]")].filter(shown);
  const name = (e) => (e.getAttribute("aria-label") || e.textContent || e.outerHTML).trim().slice(0, 60);
  const reached = new Set(), unseen = new Set();
  addEventListener("focusin", ({ target }) => {
    reached.add(target);
    const style = getComputedStyle(target);
    if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 1) unseen.add(target);
  });
  document.activeElement.blur();
  scrollTo(0, 0);
  window.keyboard = () => [
    ...controls.filter((e) => !reached.has(e)).map((e) => `keyboard: not reached: ${name(e)}`),
    ...[...unseen].map((e) => `keyboard: focus is not shown: ${name(e)}`),
  ];
  return controls.length;
})()
