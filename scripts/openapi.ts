// Writes docs/openapi.json from the routes of the admin API: `sh scripts/run scripts/openapi.ts`, then `npm run format`.
import { writeFile } from 'node:fs/promises'
import { isDeepStrictEqual } from 'node:util'
import * as schemas from '../src/admin/schemas.ts'
import { openDoor } from '../test/admin/door.ts'
import type { Scope } from '../test/support/scope.ts'

/** @returns the document that the admin API answers, with each schema written once and named where it is used */
export async function openApi(t: Scope): Promise<object> {
  const door = await openDoor(t)
  const answer = await fetch(`${door.url}/openapi.json`)
  const document = (await answer.json()) as { paths: object; components: object }
  const named = Object.entries(schemas).filter(([, schema]) => typeof schema === 'object')
  const refer = (value: unknown, own?: object): unknown => {
    if (typeof value !== 'object' || value === null) return value
    const [name] = named.find(([, schema]) => schema !== own && isDeepStrictEqual(schema, value)) ?? []
    if (name !== undefined) return { $ref: `#/components/schemas/${name}` }
    if (Array.isArray(value)) return value.map((item) => refer(item))
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, refer(item)]))
  }
  const written = Object.fromEntries(named.map(([name, schema]) => [name, refer(schema, schema)]))
  return {
    ...document,
    components: { ...document.components, schemas: written },
    paths: refer(document.paths),
  }
}

if (import.meta.main) {
  const ends: (() => unknown)[] = []
  await writeFile('docs/openapi.json', JSON.stringify(await openApi({ teardown: (end) => ends.push(end) })))
  for (const end of ends) await end()
}
