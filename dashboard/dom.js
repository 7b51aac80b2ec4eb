// Makes elements, and changes only what is different: what stays keeps the focus, and is not read out again.

/** @typedef {Record<string, string | number | boolean | null | undefined | ((event: Event) => void)>} Attributes */
/** @typedef {Node | string | null | undefined | false} Child */

const SVG = 'http://www.w3.org/2000/svg'

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Attributes} [attributes] `onclick` and the like are listeners; `true` is an attribute without a value
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export const el = (tag, attributes = {}, ...children) =>
  furnish(document.createElement(tag), attributes, children)

/**
 * @template {keyof SVGElementTagNameMap} T
 * @param {T} tag
 * @param {Attributes} [attributes]
 * @param {...Child} children
 * @returns {SVGElementTagNameMap[T]}
 */
export const svg = (tag, attributes = {}, ...children) =>
  furnish(document.createElementNS(SVG, tag), attributes, children)

/**
 * @template {Element} E
 * @param {E} element
 * @param {Attributes} attributes
 * @param {readonly Child[]} children
 * @returns {E}
 */
function furnish(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(name.slice(2), value)
    else if (value === true) element.setAttribute(name, '')
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, `${value}`)
  }
  element.append(...present(children))
  return element
}

/** @param {readonly Child[]} children */
const present = (children) => children.flatMap((child) => (child || child === '' ? [child] : []))

/**
 * Shows these children in an element, and leaves alone those that are there already.
 *
 * @param {Element} parent
 * @param {...Child} children
 */
export function show(parent, ...children) {
  const wanted = present(children).map((child) => (typeof child === 'string' ? new Text(child) : child))
  for (const [at, node] of wanted.entries()) {
    const there = parent.childNodes[at]
    if (!there) parent.append(node)
    else if (there !== node && !there.isEqualNode(node)) there.replaceWith(node)
  }
  while (parent.childNodes.length > wanted.length) parent.lastChild?.remove()
}

/** What a fold can be drawn with. */
const ICONS = {
  ok: 'M3 8.5l3.2 3.2L13 5',
  bad: 'M4 4l8 8M12 4l-8 8',
  warning: 'M8 2.5l6.2 11H1.8zM8 6.5v3.2M8 11.7v.1',
  info: 'M8 7.2v4M8 4.7v.1M14 8a6 6 0 1 1-12 0 6 6 0 0 1 12 0z',
  wait: 'M8 4.5V8l2.4 1.6M14 8a6 6 0 1 1-12 0 6 6 0 0 1 12 0z',
  flip: 'M2.5 5.5h10M9.5 2.5l3 3-3 3M13.5 10.5h-10M6.5 7.5l-3 3 3 3',
  dot: 'M8 6a2 2 0 1 0 0 4 2 2 0 0 0 0-4z',
  open: 'M2 14h12M4.5 14V2.5L10 4.5V14M10 4.5h2V14',
  closed: 'M2 14h12M4.5 14V2h7v12M9 8.2v.1',
  pause: 'M5.5 3.5v9M10.5 3.5v9',
}

/** @typedef {keyof typeof ICONS} Icon */

/**
 * @param {Icon} name
 * @returns {SVGSVGElement} for the eye alone; the words beside it say the same
 */
export const icon = (name) =>
  svg(
    'svg',
    { class: `icon icon-${name}`, viewBox: '0 0 16 16', 'aria-hidden': 'true' },
    svg('path', { d: ICONS[name] }),
  )
