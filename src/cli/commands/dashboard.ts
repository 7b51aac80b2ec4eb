// `slotgate dashboard`: opens the dashboard in a browser, with a key of its own that may only read, and for an hour. The key
// goes into the fragment of the address, which is sent to nobody, and the page gives it away for another one at once.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { KeyView } from '../../admin/keyring.ts'
import { answer, type Call, EXIT, wantsJson } from '../call.ts'
import { type AdminClient, withAdmin } from '../client.ts'
import { CLIENT } from '../flags.ts'
import { generateKey } from '../keyfile.ts'
import type { Command } from './command.ts'

/** Most openers end as soon as the browser has the address; one that is still there then shows it itself. */
const OPENS_WITHIN_MS = 3_000

export const dashboard: Command = {
  operands: [],
  flags: CLIENT,
  about:
    'open the dashboard in a browser with a key that may read for an hour; with --json, print the address',
  run: (call) =>
    withAdmin(call, async (admin) => {
      const { url, key } = await lend(admin)
      const isOpen = !wantsJson(call) && (await open(call, url))
      answer(call, { url, key }, () => (isOpen ? `Opened ${admin.origin}/ ${TERMS}` : `${url}\n${ONCE}`))
      return EXIT.done
    }),
}

const TERMS = 'with a key that may read for an hour.'
const ONCE = `This address opens the dashboard once, ${TERMS}`

async function lend(admin: AdminClient): Promise<{ url: string; key: KeyView }> {
  const { content, publicKey } = generateKey('ed25519')
  const { key } = await admin.post<{ key: KeyView }>('/v1/keys/ephemeral', {
    body: { public_key: publicKey },
  })
  const der = Buffer.from(content.replace(/-----[^-]+-----|\s/g, ''), 'base64')
  const fragment = new URLSearchParams({ id: key.id, key: der.toString('base64url') })
  return { url: `${admin.origin}/#${fragment}`, key }
}

/** @returns whether a browser has the address */
async function open({ env }: Call, url: string): Promise<boolean> {
  const hasScreen = Boolean(env.DISPLAY || env.WAYLAND_DISPLAY)
  const opener = process.platform === 'darwin' ? 'open' : hasScreen ? 'xdg-open' : null
  if (opener === null) return false
  const child = spawn(opener, [url], { detached: true, stdio: 'ignore', env })
  child.unref()
  try {
    const [code] = await Promise.race([once(child, 'exit'), sleep(OPENS_WITHIN_MS, [0], { ref: false })])
    return code === 0
  } catch {
    return false
  }
}
