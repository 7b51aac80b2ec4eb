// The command that lets people see what is in the idle slot: it makes a link for that, or makes all links void.
import type { PreviewResult, PreviewsEndResult } from '../../switch/types.ts'
import { answer, type Call, EXIT, type ExitCode, Failure, setting } from '../call.ts'
import { type AdminClient, serviceOf, withAdmin } from '../client.ts'
import { CLIENT } from '../flags.ts'
import { printPreview, printPreviewsEnd } from '../print/preview.ts'
import { styleFor } from '../style.ts'
import type { Command } from './command.ts'
import { conditionOf, forOf, pathTo } from './parts.ts'

/** A link that is void as soon as it is made is of no use. */
const LEAST_MS = 1_000

export const preview: Command = {
  operands: [],
  flags: [...CLIENT, 'for', 'origin', 'end', 'if-generation'],
  about: 'make a link to what is in the idle slot',
  run: (call) =>
    withAdmin(call, (admin) => (call.flags.end === true ? endAll(call, admin) : make(call, admin))),
}

async function make(call: Call, admin: AdminClient): Promise<ExitCode> {
  const origin = originOf(call)
  const body = forOf(call, LEAST_MS)
  const made = await admin.post<PreviewResult>(pathTo(await serviceOf(call, admin), 'preview'), {
    body,
    ...conditionOf(call),
  })
  answer(call, { ...made, link: at(origin, made.link) }, (one) =>
    printPreview(one, styleFor(call.stdout, call.env)),
  )
  return EXIT.done
}

async function endAll(call: Call, admin: AdminClient): Promise<ExitCode> {
  const path = pathTo(await serviceOf(call, admin), 'preview/end')
  const ended = await admin.post<PreviewsEndResult>(path, { body: {}, ...conditionOf(call) })
  answer(call, ended, (one) => printPreviewsEnd(one, styleFor(call.stdout, call.env)))
  return EXIT.done
}

/** Behind a load balancer slotgate does not know under which name, and over which scheme, people reach it. */
function originOf(call: Call): string | undefined {
  const given = setting(call, 'origin')
  if (given === undefined) return undefined
  const url = URL.parse(given)
  if (url && /^https?:$/.test(url.protocol) && url.href === `${url.origin}/`) return url.origin
  throw new Failure(EXIT.usage, `--origin takes an origin such as https://shop.example.com, not ${given}.`)
}

const at = (origin: string | undefined, link: string): string => {
  const { pathname, search } = new URL(link)
  return origin === undefined ? link : `${origin}${pathname}${search}`
}
