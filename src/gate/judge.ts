// placeholder for types while the rest is written
import type { SchemaStatus } from '../contract.ts'
import type { Code, Reason } from '../errors.ts'

export interface Verdict {
  operation: 'promote' | 'rollback'
  allowed: boolean
  /** The primary reason's code, or `schema_ok`. */
  code: Code | 'schema_ok'
  reasons: Reason[]
  warnings: Reason[]
  target: { release: string; status: SchemaStatus | null }
  live: { release: string; status: SchemaStatus | null } | null
  evidence: 'probed' | 'recorded' | 'none'
  attempts: number
}
