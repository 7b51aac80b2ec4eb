// The script that `--overlay` puts behind the end of a page: it shows why the newest code does not serve, and asks every
// second how things stand. It is one text, so that a page's policy can name it by its hash, and loads nothing.

/** Where the script asks. It is slotgate's own while the overlay is on, and no path of the app. */
export const OVERLAY_PATH = '/.slotgate/dev'
/** The element that holds how things stood when the page was made. */
export const OVERLAY_ID = 'slotgate-dev'

/** How a service stands, as the script reads it. */
export interface Shown {
  service: string
  live: string | null
  /** The block of the terminal, as plain text. */
  refused: string | null
  pending: readonly string[]
}

export const OVERLAY_SCRIPT = `(() => {
  const data = document.getElementById('${OVERLAY_ID}');
  if (!data || window.top !== window) return;
  const first = JSON.parse(data.textContent);
  const url = '${OVERLAY_PATH}?service=' + encodeURIComponent(first.service);
  const element = (name, style, text) => {
    const made = document.createElement(name);
    made.style.cssText = style;
    made.textContent = text;
    return made;
  };
  const box = element('div', 'all:initial;position:fixed;z-index:2147483647;right:1rem;bottom:1rem;left:auto;max-width:min(60rem,calc(100vw - 2rem))', '');
  box.setAttribute('role', 'status');
  const root = box.attachShadow({ mode: 'open' });
  let last = '';
  const show = (text) => {
    if (text === last) return;
    last = text;
    const { live, refused, pending } = JSON.parse(text) ?? { pending: [] };
    if (first.live === null && live) location.reload();
    box.remove();
    if (!refused && pending.length === 0) return;
    const colours = refused ? 'background:#3b0d0d;color:#ffe9e9;border:1px solid #d33' : 'background:#332600;color:#fff4d6;border:1px solid #b80';
    const panel = element('section', 'box-sizing:border-box;padding:.75rem 1rem;border-radius:.5rem;font:14px/1.45 ui-monospace,monospace;' + colours, '');
    const words = refused ?? 'Not run yet: ' + pending.join(', ');
    const close = element('button', 'float:right;margin:0 0 .25rem 1rem;padding:.1rem .5rem;font:inherit;color:inherit;background:none;border:1px solid;border-radius:.25rem;cursor:pointer', 'Hide');
    close.addEventListener('click', () => box.remove());
    panel.append(close, element('div', 'white-space:pre-wrap;overflow-wrap:anywhere;max-height:50vh;overflow:auto', words));
    root.replaceChildren(panel);
    document.body.append(box);
  };
  show(data.textContent);
  setInterval(() => {
    if (document.hidden) return;
    fetch(url, { cache: 'no-store' }).then((answer) => (answer.ok ? answer.text() : 'null')).then(show).catch(() => {});
  }, 1000);
})();`
