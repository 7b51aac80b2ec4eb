// What `import 'slotgate'` gives: start a slotgate inside a Node program, with the same parts as the command.
export { formatProblems, loadConfig } from './config/load.ts'
export type { Config } from './config/types.ts'
export { SlotgateError } from './errors.ts'
export { type Slotgate, start } from './main.ts'
export type { Control, ServiceStatus } from './switch/types.ts'
