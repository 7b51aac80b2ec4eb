// The dashboard: the files of the folder `dashboard/`, open to anybody, since they hold no data. What the page shows it
// asks for with signed calls, as any other caller does.
import { readdirSync, readFileSync } from 'node:fs'
import { extname } from 'node:path'
import type { FastifyInstance } from 'fastify'

/** Beside `src/`, and in the package beside `dist/`. */
const FOLDER = new URL('../../dashboard/', import.meta.url)
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
}

/** Nothing from elsewhere, nothing in the page itself, and the page in nothing else. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

const HEADERS = {
  'content-security-policy': POLICY,
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
}

/** Adds a route for each file there is, so that no other path leads to a file. */
export function addDashboard(app: FastifyInstance): void {
  for (const name of readdirSync(FOLDER)) {
    const type = TYPES[extname(name)]
    if (type === undefined) continue
    const content = readFileSync(new URL(name, FOLDER))
    app.route({
      method: ['GET', 'HEAD'],
      url: name === 'index.html' ? '/' : `/dashboard/${name}`,
      schema: { hide: true },
      handler: async (_request, reply) => reply.headers({ ...HEADERS, 'content-type': type }).send(content),
    })
  }
}
