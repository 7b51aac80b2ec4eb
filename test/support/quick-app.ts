// The least app that fits the contract and boots fast, for tests that boot it hundreds of times.
import { createServer } from '../../src/http.ts'

const { HOST, PORT, INTERNAL_PORT, SLOTGATE_BOOT_ID, SLOTGATE_RELEASE } = process.env
const status = {
  current_schema_version: 42,
  code_min_schema_version: 41,
  code_max_schema_version: 43,
  compatible: true,
  boot_id: SLOTGATE_BOOT_ID,
  release: SLOTGATE_RELEASE,
}

createServer((_, response) => response.end(SLOTGATE_RELEASE)).listen(Number(PORT), HOST)
createServer((request, response) =>
  response.end(request.url === '/schema/status' ? JSON.stringify(status) : ''),
).listen(Number(INTERNAL_PORT), HOST)
process.on('SIGTERM', () => process.exit())
