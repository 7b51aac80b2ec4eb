// The example's invoice app as a service of a World.
import { fileURLToPath } from 'node:url'

const RELEASES = fileURLToPath(new URL('../../example/releases', import.meta.url))

/** @param env what its releases find in their environment: at least DATABASE_URL; @returns the lines of `services:` */
export const exampleService = (env: Record<string, string>): string[] => [
  '  invoices:',
  '    releases:',
  '      driver: process',
  `      command: ${JSON.stringify([process.execPath, 'app.ts'])}`,
  `      cwd: ${RELEASES}/{release}`,
  `      env: ${JSON.stringify(env)}`,
  '    health: { interval: 20ms, within: 10s }',
]
