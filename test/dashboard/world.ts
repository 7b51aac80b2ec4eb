// A world with a key of its own for the browser, and how it gets there.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import type { Test } from 'tap'
import { generateKey } from '../../src/cli/keyfile.ts'
import { World } from '../support/world.ts'

const KEY_ID = 'desk'

export const keyFileOf = (world: World): string => join(world.folder, `${KEY_ID}.key`)

/** A world that is not started yet, where the key `desk` may do these things, and its file is `keyFileOf` it. */
export async function dashboardWorld(
  t: Pick<Test, 'teardown'>,
  allow = 'read, stage, promote, rollback, traffic',
): Promise<World> {
  const world = await World.create(t)
  // A machine that runs browsers has little time for releases that boot.
  world.health = '{ interval: 20ms, within: 30s }'
  const { content, publicKey } = generateKey('ed25519')
  world.keys = [`{ id: ${KEY_ID}, algorithm: ed25519, public_key: "${publicKey}", allow: [${allow}] }`]
  await writeFile(keyFileOf(world), content, { mode: 0o600 })
  return world
}

/** Loads the key on the page that asks for one, and waits until the services are there. */
export async function loadKey(page: Page, world: World): Promise<void> {
  await page.getByLabel('Private key file').setInputFiles(keyFileOf(world))
  await page.getByRole('button', { name: 'Load key' }).click()
  await page.locator('.service').first().waitFor()
}
