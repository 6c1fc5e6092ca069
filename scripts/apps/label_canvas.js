// The editor of label maps: a map of class ids, painted by brush, rectangle and fill, with undo and redo by stroke.
//
// The map is an array of ids, not a picture: no stroke can mix colours, and what is painted later lies on top.
// From Python: {key, palette: [{name, colour}], image: data URL or none (the map stays), generate: whether to ask}.
// To Python: {image: data URL of a PNG in the palette's colours, of: key of the palette}; the event "submit" asks for a picture.

function labelCanvas(element, props, trigger, watch) {
  const HISTORY = 100; // strokes that can be undone
  const PAUSE = 350; // milliseconds without a stroke before the picture is generated
  const find = (selector) => element.querySelector(selector);
  const canvas = find("canvas");
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const ring = find(".lc-ring");
  let palette = [];
  let paletteKey = "";
  let width = 0;
  let height = 0;
  let ids = new Uint8Array(0);
  let loaded = ids; // what "clear" goes back to
  let undone = [];
  let done = [];
  let tool = "brush";
  let current = 0;
  let stroke = null; // {before, x, y, from} while the pointer is down
  let timer = 0;

  // -- the map ------------------------------------------------------------------------------------------------------

  function setPixel(x, y) {
    if (x >= 0 && y >= 0 && x < width && y < height) ids[y * width + x] = current;
  }

  function stamp(x, y, size) {
    const radius = size / 2;
    const even = size % 2 ? 0 : 0.5; // an even brush lies between two pixels
    for (let dy = -Math.ceil(radius); dy <= radius; dy++) {
      for (let dx = -Math.ceil(radius); dx <= radius; dx++) {
        if ((dx + even) ** 2 + (dy + even) ** 2 <= radius * radius) setPixel(x + dx, y + dy);
      }
    }
    setPixel(x, y);
  }

  function line(x0, y0, x1, y1, size) {
    const steps = Math.max(Math.abs(x1 - x0), Math.abs(y1 - y0), 1);
    for (let step = 0; step <= steps; step++) {
      const share = step / steps;
      stamp(Math.round(x0 + (x1 - x0) * share), Math.round(y0 + (y1 - y0) * share), size);
    }
  }

  function rectangle(x0, y0, x1, y1) {
    const [left, right] = [Math.max(Math.min(x0, x1), 0), Math.min(Math.max(x0, x1), width - 1)];
    for (let y = Math.max(Math.min(y0, y1), 0); y <= Math.min(Math.max(y0, y1), height - 1); y++) {
      ids.fill(current, y * width + left, y * width + right + 1);
    }
  }

  function fill(x, y) {
    const old = ids[y * width + x];
    if (old === current) return;
    const open = [y * width + x];
    while (open.length) {
      const place = open.pop();
      if (ids[place] !== old) continue;
      ids[place] = current;
      const column = place % width;
      if (column > 0) open.push(place - 1);
      if (column < width - 1) open.push(place + 1);
      if (place >= width) open.push(place - width);
      if (place < ids.length - width) open.push(place + width);
    }
  }

  function draw() {
    const picture = context.createImageData(width, height);
    const words = new Uint32Array(picture.data.buffer);
    const colours = palette.map(({ colour }) => {
      const value = parseInt(colour.slice(1), 16);
      return (0xff000000 | ((value & 255) << 16) | (value & 0xff00) | (value >> 16)) >>> 0;
    });
    for (let place = 0; place < ids.length; place++) words[place] = colours[ids[place]];
    context.putImageData(picture, 0, 0);
  }

  // -- strokes ------------------------------------------------------------------------------------------------------

  function remember(before) {
    done.push(before);
    if (done.length > HISTORY) done.shift();
    undone = [];
  }

  function show(map) {
    ids = map.slice();
    changed();
  }

  function undo() {
    if (!done.length) return;
    undone.push(ids);
    show(done.pop());
  }

  function redo() {
    if (!undone.length) return;
    done.push(ids);
    show(undone.pop());
  }

  function clear() {
    remember(ids);
    show(loaded);
  }

  // Draw, hand the map to Python, and ask for a picture after a pause.
  function changed(generate = true) {
    draw();
    find("[data-do=undo]").disabled = !done.length;
    find("[data-do=redo]").disabled = !undone.length;
    props.value = JSON.stringify({ image: canvas.toDataURL("image/png"), of: paletteKey });
    clearTimeout(timer);
    if (generate && find(".lc-auto").checked) timer = setTimeout(() => trigger("submit"), PAUSE);
  }

  function position(event) {
    const box = canvas.getBoundingClientRect();
    const x = Math.floor(((event.clientX - box.left) / box.width) * width);
    const y = Math.floor(((event.clientY - box.top) / box.height) * height);
    return [x, y];
  }

  const brushSize = () => Number(find(".lc-size").value);

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button || !palette.length) return;
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    const [x, y] = position(event);
    if (tool === "pick" || event.altKey) return choose(ids[y * width + x]);
    stroke = { before: ids.slice(), from: [x, y], x, y };
    if (tool === "brush") stamp(x, y, brushSize());
    if (tool === "rectangle") setPixel(x, y);
    if (tool === "fill") fill(x, y);
    draw();
  });

  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    const diameter = tool === "brush" ? (brushSize() * box.width) / width : 0;
    ring.style.cssText = `width:${diameter}px;height:${diameter}px;left:${event.clientX - box.left}px;top:${event.clientY - box.top}px`;
    if (!stroke) return;
    const [x, y] = position(event);
    if (tool === "brush") line(stroke.x, stroke.y, x, y, brushSize());
    if (tool === "rectangle") {
      ids.set(stroke.before);
      rectangle(...stroke.from, x, y);
    }
    [stroke.x, stroke.y] = [x, y];
    draw();
  });

  function finish() {
    if (!stroke) return;
    const { before } = stroke;
    stroke = null;
    if (before.every((id, place) => id === ids[place])) return;
    remember(before);
    changed();
  }
  canvas.addEventListener("pointerup", finish);
  canvas.addEventListener("pointercancel", finish);
  canvas.addEventListener("pointerleave", () => (ring.style.cssText = ""));

  // -- tools --------------------------------------------------------------------------------------------------------

  function choose(id) {
    if (!(id < palette.length)) return;
    current = id;
    for (const button of element.querySelectorAll(".lc-class")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.id) === id));
    }
    find(".lc-current").textContent = palette[id].name;
  }

  function take(name) {
    tool = name;
    for (const button of element.querySelectorAll("[data-tool]")) {
      button.setAttribute("aria-pressed", String(button.dataset.tool === name));
    }
  }

  function resize(size) {
    const slider = find(".lc-size");
    slider.value = size;
    find(".lc-size-number").textContent = slider.value;
  }

  function listClasses() {
    const list = find(".lc-classes");
    list.replaceChildren(
      ...palette.map(({ name, colour }, id) => {
        const button = document.createElement("button");
        const swatch = document.createElement("span");
        swatch.style.background = colour;
        button.type = "button";
        button.className = "lc-class";
        button.dataset.id = id;
        button.title = id < 9 ? `${name} (key ${id + 1})` : name;
        button.append(swatch, name);
        return button;
      }),
    );
    choose(Math.min(current, palette.length - 1));
  }

  const actions = { undo, redo, clear };
  element.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.tool) take(button.dataset.tool);
    if (button.dataset.id) choose(Number(button.dataset.id));
    if (button.dataset.do) actions[button.dataset.do]();
  });
  find(".lc-size").addEventListener("input", (event) => resize(event.target.value));

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input:not([type=range]):not([type=checkbox]), textarea, select");
    if (typing || !element.isConnected || canvas.offsetParent === null) return;
    const key = event.key.toLowerCase();
    if (event.ctrlKey || event.metaKey) {
      if (key !== "z" && key !== "y") return;
      event.preventDefault();
      return key === "y" || event.shiftKey ? redo() : undo();
    }
    const tools = { b: "brush", r: "rectangle", f: "fill", e: "pick" };
    if (key === "[") resize(brushSize() - 1);
    else if (key === "]") resize(brushSize() + 1);
    else if (key >= "1" && key <= "9") choose(Number(key) - 1);
    else if (tools[key]) take(tools[key]);
  });

  // -- maps from Python ---------------------------------------------------------------------------------------------

  async function load() {
    const given = JSON.parse(props.value || "{}");
    if (!given.palette) return; // our own value
    [palette, paletteKey] = [given.palette, given.key];
    if (given.image) {
      const picture = new Image();
      picture.src = given.image;
      await picture.decode();
      [width, height] = [picture.naturalWidth, picture.naturalHeight];
      [canvas.width, canvas.height] = [width, height];
      context.drawImage(picture, 0, 0);
      const words = new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);
      const places = new Map(palette.map(({ colour }, id) => [parseInt(colour.slice(1), 16), id]));
      ids = Uint8Array.from(words, (word) => {
        const rgb = ((word & 255) << 16) | (word & 0xff00) | ((word >> 16) & 255);
        return places.get(rgb) ?? 0; // Python has snapped it to these colours
      });
      loaded = ids.slice();
      done = [];
      undone = [];
    }
    listClasses();
    element.dataset.ready = "true";
    changed(Boolean(given.generate));
  }

  watch("value", load);
  load();
}
