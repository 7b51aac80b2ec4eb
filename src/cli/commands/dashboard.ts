// `slotgate dashboard`: opens the dashboard in a browser, with a key of its own that may only read, and for an hour. The key
// goes into the fragment of the address, which is sent to nobody, and the page gives it away for another one at once.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { KeyView } from '../../admin/keyring.ts'
import { answer, type Call, EXIT, wantsJson } from '../call.ts'
import { type AdminClient, withAdmin } from '../client.ts'
import { CLIENT } from '../flags.ts'
import { generateKey } from '../keyfile.ts'
import type { Command } from './command.ts'

/** Most openers end as soon as the browser knows; one that is still there then is the browser. */
const OPENS_WITHIN_MS = 3_000
/** So long a browser may take to start. */
const READS_WITHIN_MS = 10_000

export const dashboard: Command = {
  operands: [],
  flags: CLIENT,
  about:
    'open the dashboard in a browser with a key that may read for an hour; with --json, print the address',
  run: (call) =>
    withAdmin(call, async (admin) => {
      const { url, key } = await lend(admin)
      const opener = wantsJson(call) ? null : openerOf(call)
      if (opener === null) answer(call, { url, key }, () => `${TERMS}\n  ${url}`)
      else await open(call, opener, url)
      return EXIT.done
    }),
}

const TERMS = 'This address opens the dashboard once, with a key that may read for an hour:'

async function lend(admin: AdminClient): Promise<{ url: string; key: KeyView }> {
  const { content, publicKey } = generateKey('ed25519')
  const { key } = await admin.post<{ key: KeyView }>('/v1/keys/ephemeral', {
    body: { public_key: publicKey },
  })
  const der = Buffer.from(content.replace(/-----[^-]+-----|\s/g, ''), 'base64')
  const fragment = new URLSearchParams({ id: key.id, key: der.toString('base64url') })
  return { url: `${admin.origin}/#${fragment}`, key }
}

/** @returns the program that opens what is meant for a browser; null where there is no screen */
function openerOf({ env }: Call): string | null {
  if (process.platform === 'darwin') return 'open'
  return env.DISPLAY || env.WAYLAND_DISPLAY ? 'xdg-open' : null
}

/**
 * Opens the address by way of a file that leads there and that nobody else may read: everybody sees the arguments of a
 * process. The address is printed all the same, for a browser that may not read the file either.
 */
async function open({ env, stdout }: Call, opener: string, url: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'slotgate-dashboard-'))
  try {
    const file = join(folder, 'dashboard.html')
    await writeFile(file, leadingTo(url), { mode: 0o600 })
    const isOpen = await hasOpened(opener, file, env)
    stdout.write(`${isOpen ? 'Opening a browser. If none comes up: ' : ''}${TERMS}\n  ${url}\n`)
    if (isOpen) await sleep(READS_WITHIN_MS)
  } finally {
    await rm(folder, { recursive: true })
  }
}

const leadingTo = (url: string): string =>
  `<!doctype html><title>slotgate</title><meta http-equiv="refresh" content="0; url=${url.replaceAll('&', '&amp;')}">\n`

async function hasOpened(opener: string, file: string, env: Call['env']): Promise<boolean> {
  const child = spawn(opener, [file], { detached: true, stdio: 'ignore', env })
  child.unref()
  try {
    const [code] = await Promise.race([once(child, 'exit'), sleep(OPENS_WITHIN_MS, [0], { ref: false })])
    return code === 0
  } catch {
    return false
  }
}
