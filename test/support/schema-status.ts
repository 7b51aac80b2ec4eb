// A status as it should be: the schema lies in the middle of the range, and nothing is pending.
import type { SchemaStatus } from '../../src/contract.ts'

export const FITTING: SchemaStatus = {
  current_schema_version: 42,
  code_min_schema_version: 41,
  code_max_schema_version: 43,
  pending_migrations: [],
  compatible: true,
}
