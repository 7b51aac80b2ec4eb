// Helpers of the tests about previews: a world with a staged release, and the ways to see it.
import type { Test } from 'tap'
import { request } from 'undici'
import { type World, withLive } from './world.ts'

export const HOST = 'preview.localhost'
export const PREVIEW = [`preview: { hosts: [${HOST}] }`]

/** One request at the front door, with these fields. */
export async function see(world: World, fields: { host?: string; cookie?: string } = {}, path = '/') {
  const { statusCode, headers, body } = await request(world.url + path, {
    headers: { ...fields },
    reset: true,
  })
  return { status: statusCode, release: headers['x-release'], headers, text: await body.text() }
}

/** Has a link made. */
export const open = (world: World, forMs = 60_000) =>
  world.call('POST', '/v1/services/invoices/preview', { for_ms: forMs })

/** Makes all links void. */
export const end = (world: World) => world.call('POST', '/v1/services/invoices/preview/end', {})

/** Opens a link as a browser does. @returns its answer, and the cookie that the browser has then */
export async function follow(world: World, link: string, headers: Record<string, string> = {}) {
  const { pathname, search } = new URL(link)
  const answer = await request(world.url + pathname + search, { headers, reset: true })
  const set = String(answer.headers['set-cookie'])
  return { answer, set, text: await answer.body.text(), cookie: set.slice(0, set.indexOf(';')) }
}

/** What a browser sends that has opened a link. */
export async function cookieFrom(world: World): Promise<{ cookie: string }> {
  const { body } = await open(world)
  const { cookie } = await follow(world, body.link)
  return { cookie }
}

/** r42 is live, r43 staged. */
export async function withStaged(t: Test, service = PREVIEW): Promise<World> {
  const world = await withLive(t, { service })
  await world.addRelease('r43', { min: 42, max: 43 })
  await world.addRelease('r44', { min: 42, max: 44 })
  t.equal((await world.stage('r43')).status, 200)
  return world
}
