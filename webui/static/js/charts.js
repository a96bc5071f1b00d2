// Readings over time: draws what /api/v1/…/readings says where a page has a place for it, and again while it is looked at.
// What is only tried brings its values with the page. Without this script, or for who sees no charts, the page has the same as tables.
const LIVE = 10000; // between two questions, or a quarter of what lies between two moments
const HEIGHT = 170;
const DOUBLED = Array.from({ length: 50 }, (_, at) => 2 ** at); // steps of axes in MiB or bytes
const HOUR = 3600, DAY = 86400;

const color = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// The same words as webui/charts.py has.
function words(value, unit, onAxis) {
  if (value === null || value === undefined) return inLanguage('missing');
  const short = (number, digits) => number.toLocaleString(document.documentElement.lang, { maximumSignificantDigits: digits, useGrouping: false });
  const scaled = (number, units, step) => {
    let at = 0;
    while (Math.abs(number) >= step && at < units.length - 1) { number /= step; at++; }
    return `${Math.abs(number) < 1000 ? short(number, 3) : Math.round(number)} ${units[at]}`;
  };
  switch (unit) {
    case 'mib': return scaled(value, ['MiB', 'GiB', 'TiB'], 1024);
    case 'share': return `${Math.round(100 * value)} %`;
    case 'bytes': return scaled(value, ['B/s', 'KiB/s', 'MiB/s'], 1024);
    case 'seconds': return value < 120 ? `${Math.round(value)} s` : value < 2 * HOUR ? `${Math.round(value / 60)} min` : `${short(value / HOUR, 2)} h`;
    case 'brief': return value < 1 ? `${short(1000 * value, 3)} ms` : `${short(value, 3)} s`;
    case 'rate': return `${short(value, 3)}/s`;
    case 'hourly': return onAxis ? `${short(value, 3)}/h` : inLanguage('%(number)s an hour').replace('%(number)s', short(value, 3));
    default: return Math.abs(value) < 1000 ? short(value, 3) : String(Math.round(value));
  }
}

// What a chart shows: for each line its values as they are, and as they are drawn; areas lie on each other.
function columns(chart, series) {
  const nothing = series.times.map(() => null);
  const drawn = [], floor = series.times.map(() => 0);
  for (const line of chart.lines) {
    const figure = series.figures[line.figure];
    const mean = figure?.mean ?? nothing;
    if (!figure) continue;
    const values = line.stacked ? mean.map((value, at) => (value === null ? null : (floor[at] += value))) : mean;
    drawn.push({ line, mean, values, most: line.peak ? figure.most : undefined });
  }
  return drawn;
}

// The largest value; that of a limit as well, unless all else would be flat.
function top(drawn) {
  const largest = lines => Math.max(0, ...lines.flatMap(({ values, most }) => [...values, ...(most ?? [])]).filter(value => value !== null));
  const others = largest(drawn.filter(one => one.line.key !== 'limit')), limit = largest(drawn);
  return limit <= 1.6 * others ? limit : others;
}

function options(chart, drawn, width, range, marks, zone, key, point) {
  const ink = color('--tblr-secondary'), grid = { stroke: color('--chart-grid'), width: 1 };
  const incrs = ['mib', 'bytes'].includes(chart.unit) ? DOUBLED : undefined;
  const areas = drawn.filter(one => one.line.stacked).reverse(), lines = drawn.filter(one => !one.line.stacked);
  const series = [{}], data = [];
  for (const { line, values } of areas) {
    const fill = color(`--chart-${line.key}`);
    series.push({ label: line.label, stroke: fill, fill, width: 0, points: { show: false } });
    data.push(values);
  }
  for (const { line, values, most } of lines) {
    const stroke = color(`--chart-${line.key}`);
    if (most) {
      series.push({ stroke: `${stroke}66`, width: 1, points: { show: false } });
      data.push(most);
    }
    series.push({ label: line.label, stroke, width: 2, dash: line.key === 'limit' ? [7, 5] : undefined });
    data.push(values);
  }
  const day = new Intl.DateTimeFormat('en-GB', { timeZone: zone, day: 'numeric', month: 'short' });
  const month = new Intl.DateTimeFormat('en-GB', { timeZone: zone, month: 'short', year: 'numeric' });
  const time = new Intl.DateTimeFormat('en-GB', { timeZone: zone, hour: '2-digit', minute: '2-digit' });
  const format = (range.end - range.begin) > 200 * DAY ? month : (range.end - range.begin) > 2 * DAY ? day : time;
  return [{
    width, height: HEIGHT, series,
    tzDate: seconds => uPlot.tzDate(new Date(seconds * 1000), zone),
    legend: { show: false },
    cursor: { sync: { key }, drag: { x: false, y: false }, y: false, points: { size: 6 } },
    scales: {
      x: { time: true, range: () => [range.begin, range.end] },
      y: { range: (_, low) => [Math.min(0, low ?? 0), chart.unit === 'share' ? 1 : Math.max(1, top(drawn) * 1.08)] },
    },
    axes: [
      { stroke: ink, grid, ticks: { show: false }, font: '12px Inter, sans-serif', space: 70, size: 26, values: (_, at) => at.map(seconds => format.format(seconds * 1000)) },
      { stroke: ink, grid, ticks: { show: false }, font: '12px Inter, sans-serif', size: 68, space: 34, ...(incrs && { incrs }), values: (_, at) => at.map(value => words(value, chart.unit, true)) },
    ],
    hooks: { draw: [plot => drawMarks(plot, marks)], setCursor: [plot => point(plot.cursor.idx)] },
  }, data];
}

// Decisions are lines through all charts. Windows of a policy, when there are any, are drawn here, too, below the lines.
function drawMarks(plot, marks) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = color('--chart-mark');
  ctx.fillStyle = ctx.strokeStyle;
  ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
  for (const mark of marks) {
    const x = Math.round(plot.valToPos(Date.parse(mark.at) / 1000, 'x', true));
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.fillRect(x - 2 * devicePixelRatio, bbox.top, 4 * devicePixelRatio, 4 * devicePixelRatio);
  }
  ctx.restore();
}

class Section {
  constructor(id) { this.id = id; this.plots = new Map(); this.asked = 0; this.waits = false; }

  get box() { return document.getElementById(this.id); }

  // A change is drawn at once, or as soon as the last answer is old enough; while nobody looks, when somebody does again.
  changed() {
    if (this.waits || !this.box?.dataset.readings) return;
    const again = () => { this.waits = false; this.changed(); };
    const early = this.asked + Math.max(LIVE, 250 * (this.found?.step ?? 0)) - Date.now();
    this.waits = document.hidden || early > 0;
    if (document.hidden) document.addEventListener('visibilitychange', again, { once: true });
    else if (early > 0) setTimeout(again, early);
    else this.ask();
  }

  async ask() {
    this.asked = Date.now();
    if (this.box.dataset.values) { // they came with the page, and stay as they are
      this.found ??= JSON.parse(this.box.dataset.values);
      this.draw();
      return;
    }
    let found;
    try {
      const answer = await fetch(this.box.dataset.readings, { headers: { 'HX-Request': 'true', Accept: 'application/json' } });
      if (!answer.ok) return;
      found = await answer.json();
    } catch { return; } // the page says that the appliance does not answer
    this.found = found;
    this.draw();
  }

  draw() {
    if (!this.found || !this.box) return;
    const { found } = this, zone = this.box.dataset.zone;
    const range = { begin: Date.parse(found.from) / 1000, end: Date.parse(found.to) / 1000 };
    for (const figure of this.box.querySelectorAll('[data-chart]')) {
      const chart = JSON.parse(figure.dataset.chart), place = figure.querySelector('.canvas');
      const series = chart.sent ? found.sent[chart.sent] : found;
      if (!series || !place) continue;
      const drawn = columns(chart, series);
      const point = at => this.tell(figure, chart, drawn, at);
      const [settings, data] = options(chart, drawn, place.clientWidth, range, found.marks, zone, this.id, point);
      this.plots.get(place.id)?.destroy();
      place.replaceChildren();
      this.plots.set(place.id, new uPlot(settings, [series.times, ...data], place));
      point(null);
    }
    this.box.dataset.drawn = found.to;
  }

  // The legend has the values under the cursor, else the last.
  tell(figure, chart, drawn, at) {
    for (const { line, mean } of drawn) {
      const cell = figure.querySelector(`[data-last="${line.figure}"]`);
      if (cell) cell.textContent = words(at === null || at === undefined ? mean.at(-1) : mean[at], chart.unit);
    }
  }

  resize() {
    for (const [id, plot] of this.plots) {
      const width = document.getElementById(id)?.clientWidth;
      if (width && width !== plot.width) plot.setSize({ width, height: HEIGHT });
    }
  }
}

const sections = [...document.querySelectorAll('[data-readings], [data-values]')].map(box => new Section(box.id));
const askAll = () => sections.forEach(section => section.ask());
askAll();
document.body.addEventListener('changed', () => sections.forEach(section => section.changed()));
addEventListener('resize', () => sections.forEach(section => section.resize()));
new MutationObserver(() => sections.forEach(section => section.draw())).observe(document.documentElement, { attributeFilter: ['data-bs-theme'] });
