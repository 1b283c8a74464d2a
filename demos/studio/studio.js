// Runs once for each panel: what is clicked is told by name, what is drawn is told in shares of
// the picture. Listeners sit on the panel itself, since its contents are replaced.
const tell = (name) => trigger('select', { pick: name });
element.addEventListener('click', (event) => {
  const chosen = event.target.closest('[data-pick]');
  if (chosen && !element.dataset.drawn) tell(chosen.dataset.pick);
  delete element.dataset.drawn;
});
let from = null, canvas = null, rubber = null;
const place = (event) => {
  const area = canvas.getBoundingClientRect();
  const share = (v, low, size) => Math.min(1, Math.max(0, (v - low) / size));
  return [share(event.clientX, area.left, area.width), share(event.clientY, area.top, area.height)];
};
const corners = (a, b) => [
  Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[0], b[0]), Math.max(a[1], b[1])];
element.addEventListener('pointerdown', (event) => {
  canvas = event.target.closest('.vs-canvas');
  if (!canvas || event.button !== 0) { canvas = null; return; }
  from = place(event);
});
element.addEventListener('pointermove', (event) => {
  if (!canvas) return;
  const [x1, y1, x2, y2] = corners(from, place(event));
  if (!rubber && (x2 - x1 > 0.01 || y2 - y1 > 0.01)) {
    rubber = document.createElement('div');
    rubber.className = 'vs-rubber';
    canvas.appendChild(rubber);
    canvas.setPointerCapture(event.pointerId);
  }
  if (rubber) {
    rubber.style.left = `${100 * x1}%`; rubber.style.top = `${100 * y1}%`;
    rubber.style.width = `${100 * (x2 - x1)}%`; rubber.style.height = `${100 * (y2 - y1)}%`;
  }
});
const drop = (event) => {
  if (canvas && rubber) {
    const box = corners(from, place(event));
    const handle = canvas.dataset.handle;
    rubber.remove();
    element.dataset.drawn = '1';
    setTimeout(() => { delete element.dataset.drawn; }, 60);
    if (box[2] - box[0] > 0.01 && box[3] - box[1] > 0.01) {
      trigger('select', { pick: `box:${handle}:${box.map((v) => v.toFixed(4)).join(',')}` });
    }
  }
  canvas = null; rubber = null; from = null;
};
element.addEventListener('pointerup', drop);
element.addEventListener('pointercancel', () => {
  if (rubber) rubber.remove();
  canvas = null; rubber = null; from = null;
});
