// The scatter chart: file size or bits per weight against the mean KL divergence, which is
// logarithmic. The reference, whose divergence is 0, and whatever is identical to it, lie in a band
// below the logarithmic axis; a reference far larger than the rest lies at the right edge.
'use strict';

(() => {
  const host = document.getElementById('scatter');
  const foot = document.getElementById('scatter-foot');
  const shapes = {
    m0: 'M-5.2 0a5.2 5.2 0 1 0 10.4 0a5.2 5.2 0 1 0-10.4 0',
    m1: 'M-4.7-4.7h9.4v9.4h-9.4Z',
    m2: 'M0-6 5.8 4.8H-5.8Z',
    m3: 'M0-6.4 6.4 0 0 6.4-6.4 0Z',
    m4: 'M0 6-5.8-4.8H5.8Z',
    m5: 'M-2-6h4v4h4v4h-4v4h-4v-4h-4v-4h4Z',
    mr: 'M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0',
  };
  // The table's row knows: {method: "m0", suggested: whether the headline names it}.
  const kindOf = row => {
    const classes = document.querySelector(`#table tr[data-row="${row}"]`).classList;
    return {method: classes[0], suggested: classes.contains('suggested')};
  };

  const svg = (name, attributes, ...children) => create(`svg:${name}`, attributes, ...children);
  const shortNumber = value => String(Number(value.toPrecision(3)));

  // Steps of 1, 2 or 5 times a power of ten, at most `count` in the range.
  function linearTicks(from, to, count) {
    const rough = (to - from) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map(n => n * power).find(s => s >= rough);
    const ticks = [];
    for (let i = Math.ceil(from / step); i * step <= to; i++) ticks.push(i * step);
    return ticks;
  }

  function logTicks(from, to) {
    const ticks = [];
    for (let power = Math.floor(Math.log10(from)); 10 ** power <= to; power++) {
      for (const n of [1, 2, 5]) {
        const value = n * 10 ** power;
        if (value >= from && value <= to) ticks.push({value, major: n === 1});
      }
    }
    return ticks;
  }

  // Where everything is: {points, x, y, zero, width, height, frame, unit}.
  function layOut(axis, width) {
    const bytes = axis === 'file_bytes';
    const all = report.rows.map((row, index) => ({row, index, size: row[axis], kld: row.kld_mean}));
    const measured = all.filter(p => p.size > 0 && (p.row.is_reference || p.kld !== null));
    const missing = all.filter(p => !measured.includes(p));
    const variants = measured.filter(p => !p.row.is_reference);
    const logged = variants.filter(p => p.kld > 0).map(p => p.kld);
    if (logged.length === 0) return null;

    const scale = bytes ? (Math.max(...variants.map(p => p.size)) >= 1e10 ? 1e9 : 1e6) : 1;
    const sizes = variants.map(p => p.size / scale);
    let [least, most] = [Math.min(...sizes), Math.max(...sizes)];
    const span = most - least || most * .2;
    const reference = measured.find(p => p.row.is_reference);
    const far = reference && reference.size / scale > most + span * .45;
    if (reference && !far) {
      least = Math.min(least, reference.size / scale);
      most = Math.max(most, reference.size / scale);
    }
    const pad = (most - least || span) * .07;
    const height = Math.round(Math.min(Math.max(width * .52, 360), 540));
    const frame = {left: 54, right: width - 16, top: 34, bottom: height - 46};
    const band = 30;
    const floor = frame.bottom - band;
    const right = far ? frame.right - Math.min(90, width * .16) : frame.right;
    const [from, to] = [least - pad, most + pad];
    const [low, high] = [Math.min(...logged) / 1.5, Math.max(...logged) * 1.6];
    const x = value => frame.left + (value - from) / (to - from) * (right - frame.left);
    const y = value => floor - Math.log(value / low) / Math.log(high / low) * (floor - frame.top);
    for (const p of measured) {
      p.far = far && p === reference;
      p.x = p.far ? frame.right - 14 : x(p.size / scale);
      p.y = p.row.is_reference || !(p.kld > 0) ? floor + band / 2 : y(p.kld);
    }
    return {
      points: measured,
      missing,
      frame,
      floor,
      x,
      y,
      from,
      to,
      low,
      high,
      right,
      far,
      width,
      height,
      unit: bytes ? `file size, ${scale === 1e9 ? 'GB' : 'MB'}` : 'bits per weight'
    };
  }

  function drawAxes(chart, plan) {
    const {frame, floor} = plan;
    chart.append(svg('rect', {
      class: 'zero',
      x: frame.left,
      y: floor,
      width: frame.right - frame.left,
      height: frame.bottom - floor
    }));
    for (const {value, major} of logTicks(plan.low, plan.high)) {
      const y = plan.y(value);
      chart.append(svg(
          'line',
          {class: major ? 'grid' : 'grid minor', x1: frame.left, x2: frame.right, y1: y, y2: y}));
      if (y > floor - 10) continue;
      chart.append(
          svg('text', {x: frame.left - 8, y: y + 4, 'text-anchor': 'end'}, shortNumber(value)));
    }
    chart.append(svg(
        'text', {x: frame.left - 8, y: (floor + frame.bottom) / 2 + 4, 'text-anchor': 'end'}, '0'));
    for (const value of linearTicks(plan.from, plan.to, plan.width / 90)) {
      const x = plan.x(value);
      chart.append(
          svg('line', {class: 'grid minor', x1: x, x2: x, y1: frame.top, y2: frame.bottom}));
      chart.append(
          svg('text', {x, y: frame.bottom + 18, 'text-anchor': 'middle'}, shortNumber(value)));
    }
    chart.append(
        svg('text',
            {x: (frame.left + plan.right) / 2, y: frame.bottom + 38, 'text-anchor': 'middle'},
            plan.unit),
        svg('text', {x: 6, y: 16}, 'mean KL divergence, nats'));
  }

  function drawLines(chart, plan) {
    const front = plan.points.filter(p => p.row.pareto && !p.row.is_reference && p.kld > 0)
                      .sort((a, b) => a.x - b.x);
    if (front.length > 0) {
      const path =
          front.map((p, i) => `${i ? 'L' : 'M'}${p.x.toFixed(1)} ${p.y.toFixed(1)}`).join('');
      chart.append(svg('path', {class: 'front', d: path}));
    }
    const groups = groupByGrid(plan.points);
    for (const group of groups) {
      for (let i = 1; i < group.length; i++) {
        const [a, b] = [group[i - 1], group[i]];
        chart.append(svg('line', {class: 'pair', x1: a.x, y1: a.y, x2: b.x, y2: b.y}));
      }
    }
    return {front, groups};
  }

  // Rows on one grid share a label: the mark already tells the method.
  function groupByGrid(points) {
    const groups = new Map();
    for (const p of points) {
      const key = p.row.is_reference ? `reference ${p.index}` : p.row.grid || p.row.name;
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(p);
    }
    return [...groups.values()].map(group => group.sort((a, b) => a.y - b.y));
  }

  function drawPoints(chart, plan) {
    for (const p of plan.points) {
      const {method, suggested} = kindOf(p.index);
      const kld = p.row.is_reference ? 'the reference' : `mean KL divergence ${shortNumber(p.kld)}`;
      const label = `${p.row.name}: ${(p.row.file_bytes / 1e6).toFixed(1)} MB, ` +
          `${shortNumber(p.row.bits_per_weight || 0)} bits per weight, ${kld}`;
      chart.append(
          svg('g', {
            class: `point ${method}${suggested ? ' suggested' : ''}`,
            'data-row': p.index,
            tabindex: 0,
            role: 'img',
            'aria-label': label,
            transform: `translate(${p.x.toFixed(1)} ${p.y.toFixed(1)})`,
          },
              svg('circle', {class: 'hit', r: 13}), svg('circle', {class: 'halo', r: 11}),
              svg('path', {class: 'shape', d: shapes[method]})));
    }
  }

  // ---- Labels ----

  const overlap = (a, b) => Math.max(0, Math.min(a.x + a.w, b.x + b.w) - Math.max(a.x, b.x)) *
      Math.max(0, Math.min(a.y + a.h, b.y + b.h) - Math.max(a.y, b.y));

  // Places for a box of w by h around a point: eight directions, three distances.
  function* placesAround(p, w, h) {
    for (const distance of [9, 20, 34]) {
      for (let direction = 0; direction < 8; direction++) {
        const [dx, dy] = [Math.cos(direction * Math.PI / 4), Math.sin(direction * Math.PI / 4)];
        yield {
          x: p.x + dx * distance +
              (Math.abs(dx) < .1 ? -w / 2 :
                   dx < 0        ? -w :
                                   0),
          y: p.y + dy * distance +
              (Math.abs(dy) < .1 ? -h / 2 :
                   dy < 0        ? -h :
                                   0),
          w,
          h,
          from: p,
          distance,
        };
      }
    }
  }

  // Stations along the lines, which a label should not cover.
  function stations(points) {
    const boxes = [];
    for (let i = 1; i < points.length; i++) {
      const [a, b] = [points[i - 1], points[i]];
      const count = Math.ceil(Math.hypot(b.x - a.x, b.y - a.y) / 6);
      for (let k = 1; k < count; k++) {
        boxes.push({
          x: a.x + (b.x - a.x) * k / count - 2,
          y: a.y + (b.y - a.y) * k / count - 2,
          w: 4,
          h: 4
        });
      }
    }
    return boxes;
  }

  function costOf(place, plan, marks, lines, others) {
    const {frame} = plan;
    if (place.x < frame.left + 2 || place.x + place.w > frame.right + 8 || place.y < 0 ||
        place.y + place.h > frame.bottom + 2)
      return Infinity;
    let hard = 0, soft = 0;
    for (const other of others) hard += overlap(place, other);
    for (const mark of marks) hard += overlap(place, mark);
    for (const line of lines) soft += overlap(place, line);
    return hard * 40 + soft * 2 + place.distance;
  }

  // Each label in turn takes its cheapest place, given the others', for a few rounds.
  function placeLabels(plan, labels, lines) {
    const marks = plan.points.map(p => ({x: p.x - 7, y: p.y - 7, w: 14, h: 14}));
    for (let round = 0; round < 5; round++) {
      for (const label of labels) {
        const others =
            labels.filter(other => other !== label && other.place).map(other => other.place);
        label.cost = Infinity;
        for (const p of label.group) {
          for (const place of placesAround(p, label.w, label.h)) {
            const cost = costOf(place, plan, marks, lines, others);
            if (cost < label.cost) [label.cost, label.place] = [cost, place];
          }
        }
      }
    }
    // What still covers something is left out; those on the front stay before the others.
    const kept = [];
    for (const label of [...labels].sort((a, b) => b.front - a.front)) {
      const {place} = label;
      const clear = label.cost < Infinity && place &&
          ![...kept.map(k => k.place), ...marks].some(other => overlap(place, other) > 6);
      if (clear)
        kept.push(label);
      else
        label.text.remove();
    }
    return kept;
  }

  function drawLabels(chart, plan, {front, groups}) {
    const lines = [...stations(front), ...groups.flatMap(stations)];
    const labels = groups.map(group => {
      const [first] = group;
      const words = first.row.is_reference ?
          `${first.row.name}${
              first.far ? `, ${shortNumber(first.row.file_bytes / 1e6)} MB \u2192` : ''}` :
                          first.row.grid || first.row.name;
      const onFront = group.some(p => front.includes(p));
      const text = svg('text', {class: onFront ? 'label on-front' : 'label'}, words);
      chart.append(text);
      const box = text.getBBox();
      return {
        group,
        text,
        front: onFront || first.row.is_reference,
        w: box.width,
        h: box.height - 2
      };
    });
    for (const {text, place} of placeLabels(plan, labels, lines)) {
      text.setAttribute('x', place.x);
      text.setAttribute('y', place.y + place.h * .8);
      if (place.distance < 20) continue;
      const end = {
        x: Math.min(Math.max(place.from.x, place.x), place.x + place.w),
        y: Math.min(Math.max(place.from.y, place.y), place.y + place.h)
      };
      text.before(
          svg('line', {class: 'leader', x1: place.from.x, y1: place.from.y, x2: end.x, y2: end.y}));
    }
  }

  // ---- Drawing ----

  let paper = false;

  function draw() {
    const axis = document.querySelector('input[name=axis]:checked').value;
    const width = paper ? 1000 : Math.max(host.clientWidth - 18, 260);
    const plan = layOut(axis, width);
    if (!plan) {
      host.hidden = true;
      foot.textContent =
          'No divergence from the reference was measured, so there is nothing to draw.';
      return;
    }
    const chart = svg('svg', {
      viewBox: `0 0 ${width} ${plan.height}`,
      role: 'group',
      'aria-label': `Scatter chart: ${plan.unit} against mean KL divergence`
    });
    host.replaceChildren(chart);
    drawAxes(chart, plan);
    const lines = drawLines(chart, plan);
    drawPoints(chart, plan);
    drawLabels(chart, plan, lines);
    foot.textContent = plan.missing.length === 0 ?
        '' :
        `Not drawn, since not measured: ${plan.missing.map(p => p.row.name).join(', ')}.`;
  }

  draw();
  for (const input of document.querySelectorAll('input[name=axis]')) {
    input.addEventListener('change', draw);
  }
  addEventListener('beforeprint', () => {
    paper = true;
    draw();
  });
  addEventListener('afterprint', () => {
    paper = false;
    draw();
  });
  let drawn = host.clientWidth;
  new ResizeObserver(() => {
    if (paper || host.clientWidth === drawn || host.clientWidth === 0) return;
    drawn = host.clientWidth;
    requestAnimationFrame(draw);
  }).observe(host);
})();
