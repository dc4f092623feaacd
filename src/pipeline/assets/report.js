// What the script adds to a page that is complete without it: sorting, tooltips, marking one row
// everywhere at once, saving the numbers. The scatter chart is in scatter.js.
'use strict';

document.documentElement.classList.add('js');

const report = JSON.parse(document.getElementById('data').textContent);

// An element, or with "svg:" before its name one of a picture. Children are elements or text; text
// is never parsed as HTML.
function create(name, attributes, ...children) {
  const element = name.startsWith('svg:') ?
      document.createElementNS(document.querySelector('svg').namespaceURI, name.slice(4)) :
      document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// ---- Tooltip: any element with data-tip, or a chart's point (shown by row) ----

const tip = document.getElementById('tip');
const table = document.getElementById('table');

// A column's heading on one line.
function heading(key) {
  const button = table.querySelector(`.sort[data-key="${key}"]`);
  return [...button.childNodes].map(node => node.textContent || ' ').join('');
}

// The row's numbers as the table shows them.
function rowTip(row) {
  const line = table.querySelector(`tr[data-row="${row}"]`);
  const list = create('dl');
  for (const key of ['file_bytes', 'bits_per_weight', 'kld_mean', 'same_top1', 'perplexity']) {
    const cell = line.querySelector(`[data-key="${key}"]`).cloneNode(true);
    for (const hidden of cell.querySelectorAll('.vh, small')) hidden.remove();
    list.append(create('dt', null, heading(key)), create('dd', null, cell.textContent.trim()));
  }
  return [create('b', null, report.rows[row].name), list];
}

function showTip(element) {
  const box = element.getBoundingClientRect();
  tip.replaceChildren(
      ...('tip' in element.dataset ? [element.dataset.tip] : rowTip(element.dataset.row)));
  tip.hidden = false;
  const size = tip.getBoundingClientRect();
  const middle = Math.min(Math.max(box.left, 0) + Math.min(box.width, innerWidth) / 2, innerWidth);
  const left = Math.min(Math.max(middle - size.width / 2, 12), innerWidth - size.width - 12);
  const above = box.top - size.height - 8;
  tip.style.left = `${left}px`;
  tip.style.top =
      `${above >= 8 ? above : Math.min(box.bottom + 8, innerHeight - size.height - 8)}px`;
}

function hideTip() {
  tip.hidden = true;
}

// ---- One row, marked wherever it is shown ----

function markRow(row) {
  for (const element of document.querySelectorAll('.hot')) element.classList.remove('hot');
  if (row === undefined) return;
  for (const element of document.querySelectorAll(`[data-row="${row}"]`)) {
    element.classList.add('hot');
  }
}

function pointAt(target) {
  const shown = target.closest?.('[data-tip], .point');
  if (shown)
    showTip(shown);
  else
    hideTip();
  markRow(target.closest?.('[data-row]')?.dataset.row);
}

for (const kind of ['pointerover', 'focusin']) {
  document.addEventListener(kind, event => pointAt(event.target));
}
document.addEventListener('focusout', () => pointAt(document.body));
document.addEventListener('pointerleave', () => pointAt(document.body));
addEventListener('scroll', hideTip, {passive: true, capture: true});
document.addEventListener('keydown', event => {
  if (event.key === 'Escape') hideTip();
});

// ---- Sorting ----

// The cell's number, or its text; null where nothing was measured.
function sortValue(line, key) {
  const cell = key === 'name' || key === 'method' ? line.querySelector(`.${key}`) :
                                                    line.querySelector(`[data-key="${key}"]`);
  const text = cell.dataset.v;
  if (text === '') return null;
  return cell.classList.contains('num') ? Number(text) : text;
}

function sortBy(button) {
  const head = button.closest('th');
  const key = button.dataset.key;
  // Names rise first, and so do numbers of which less is better; the third click restores the
  // order.
  const falls = ['same_top1', 'prompt_tps', 'generation_tps'].includes(key);
  const orders = falls ? ['descending', 'ascending', null] : ['ascending', 'descending', null];
  const order = orders[(orders.indexOf(head.getAttribute('aria-sort')) + 1) % 3];
  for (const other of table.querySelectorAll('[aria-sort]')) other.removeAttribute('aria-sort');
  if (order) head.setAttribute('aria-sort', order);
  const sign = order === 'descending' ? -1 : 1;
  const body = table.tBodies[0];
  const isReference = line => line.classList.contains('reference');
  const lines = [...body.rows].sort((a, b) => {
    if (isReference(a) !== isReference(b)) return isReference(a) ? -1 : 1;  // stays on top
    if (order) {
      const [x, y] = [sortValue(a, key), sortValue(b, key)];
      if ((x === null) !== (y === null)) return x === null ? 1 : -1;  // the unmeasured last
      if (x < y) return -sign;
      if (x > y) return sign;
    }
    return a.dataset.row - b.dataset.row;
  });
  body.append(...lines);
}

table.tHead.addEventListener('click', event => {
  const button = event.target.closest('.sort');
  if (button) sortBy(button);
});

// ---- Saving, printing ----

document.getElementById('save-json').addEventListener('click', event => {
  const blob = new Blob([JSON.stringify(report, null, 1)], {type: 'application/json'});
  event.currentTarget.href = URL.createObjectURL(blob);
});

const closed = new Set();
addEventListener('beforeprint', () => {
  for (const details of document.querySelectorAll('details:not([open])')) {
    closed.add(details);
    details.open = true;
  }
});
addEventListener('afterprint', () => {
  for (const details of closed) details.open = false;
  closed.clear();
});
