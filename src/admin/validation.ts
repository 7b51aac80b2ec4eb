// What calls bring to the admin API is validated by Ajv. To compile a schema takes milliseconds, and a start would pay for all of
// them; so each is compiled when the first call needs it.
import { AjvCompiler } from '@fastify/ajv-compiler'

/** One for all servers of a process: Ajv itself takes longest. */
const compilerFor = AjvCompiler()

type Validate = ReturnType<ReturnType<typeof compilerFor>>

/** For Fastify's `schemaController.compilersFactory`. */
export const buildValidator: typeof compilerFor = (externalSchemas, options) => {
  const compile = compilerFor(externalSchemas, options)
  return (schema) => lazily(() => compile(schema))
}

function lazily(compile: () => Validate): Validate {
  let compiled: Validate | undefined
  const validate = ((data: unknown) => {
    compiled ??= compile()
    const isValid = compiled(data)
    validate.errors = compiled.errors ?? null
    return isValid
  }) as Validate
  return validate
}
