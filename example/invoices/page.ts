// The one page of the invoice app: the list, a form to add one, and which release answered.
import type { Invoice } from './store.ts'

export interface PageFacts {
  invoices: Invoice[]
  notes: boolean
  release: string
  slot: string
}

const ESCAPES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}
const escapeHtml = (text: unknown): string =>
  String(text ?? '').replace(/[&<>"']/g, (sign) => ESCAPES[sign] ?? sign)

const STYLE = `
  :root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 15%, transparent); }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem; }
  header { display: flex; justify-content: space-between; align-items: baseline; }
  .release { font-weight: 600; padding: .1rem .6rem; border-radius: 1rem; color: #fff; }
  .blue { background: #1f6feb; } .green { background: #1a7f37; } .no { background: #656d76; }
  form { display: flex; flex-wrap: wrap; gap: .5rem; margin: 1rem 0; }
  input { flex: 1 1 8rem; } input, button { font: inherit; padding: .3rem .5rem; }
  table { width: 100%; border-collapse: collapse; } th, td { text-align: left; padding: .4rem; border-bottom: 1px solid var(--line); }
  .number { text-align: right; font-variant-numeric: tabular-nums; }
`

export function page({ invoices, notes, release, slot }: PageFacts): string {
  const color = slot === 'blue' || slot === 'green' ? slot : 'no'
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Invoices</title><style>${STYLE}</style></head>
<body>
<header><h1>Invoices</h1><span class="release ${color}">${escapeHtml(release)} in ${escapeHtml(slot)}</span></header>
<form method="post" action="/invoices">
  <input name="customer" placeholder="Customer" aria-label="Customer" required maxlength="200">
  <input name="total" type="number" min="0" placeholder="Total" aria-label="Total" required>
  ${notes ? '<input name="notes" placeholder="Notes" aria-label="Notes" maxlength="2000">' : ''}
  <button>Add</button>
</form>
<table>
<thead><tr><th>No.</th><th>Customer</th><th class="number">Total</th>${notes ? '<th>Notes</th>' : ''}</tr></thead>
<tbody>${invoices.map((invoice) => row(invoice, notes)).join('\n')}</tbody>
</table>
</body>
</html>
`
}

const row = ({ id, customer, total, notes }: Invoice, showNotes: boolean): string =>
  `<tr><td>${id}</td><td>${escapeHtml(customer)}</td><td class="number">${total}</td>${showNotes ? `<td>${escapeHtml(notes)}</td>` : ''}</tr>`
