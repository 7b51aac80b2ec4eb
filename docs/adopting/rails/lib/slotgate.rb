# The contract with slotgate, for a database that Rails migrates: a Rack app on INTERNAL_PORT, in the process of the app.
require "json"
require "puma"
require "puma/server"
require "zlib"

module Slotgate
  ROOT = File.expand_path("..", __dir__)

  # A pool of its own: a busy app must not take the connection that the status needs.
  class Database < ActiveRecord::Base
    self.abstract_class = true
    establish_connection ActiveRecord::Base.connection_db_config.configuration_hash.merge(
      pool: 3, variables: { statement_timeout: "1s" }
    )
  end

  class Standby < StandardError; end

  class << self
    # Does nothing where slotgate did not start the process, in a console for example.
    def listen
      return unless ENV["INTERNAL_PORT"]

      server = Puma::Server.new(method(:call))
      server.add_tcp_listener(ENV.fetch("HOST", "127.0.0.1"), ENV["INTERNAL_PORT"].to_i)
      server.run
    end

    def call(env)
      case [env["REQUEST_METHOD"], env["PATH_INFO"]]
      when ["GET", "/healthz"] then answer(200, healthy: true)
      when ["GET", "/schema/status"] then answer(200, status)
      when ["POST", "/migrations/run"] then run(env)
      else answer(404, error: "there is nothing here")
      end
    rescue Standby, ActiveRecord::ActiveRecordError => error
      answer(503, error: error.message)
    end

    private

    # Rails writes a version as text of 14 digits. As a number it is exact in JSON, and its order is that of the text.
    def status
      row = read
      applied = row["versions"].to_s.split(",").map(&:to_i)
      current = applied.max || 0
      pending = shipped.reject { |version, _| applied.include?(version) }
      # From a branch that was merged late: nobody would notice, as a newer one has run.
      problems = pending.select { |version, _| version < current }.map do |_, file|
        { code: "hole", sentence: "#{file} has not run, but newer ones have." }
      end
      min, max = JSON.parse(File.read("#{ROOT}/db/compat.json")).values_at("min", "max")
      {
        current_schema_version: current, code_min_schema_version: min, code_max_schema_version: max,
        compatible: current.between?(min, max) && problems.empty?,
        pending_migrations: pending.values, problems: problems,
        migration_running: row["running"], database_id: row["database_id"], schema_digest: row["digest"],
        boot_id: ENV["SLOTGATE_BOOT_ID"], release: ENV["SLOTGATE_RELEASE"]
      }.compact
    end

    # One statement, so one snapshot. Rails makes the table with the first migration.
    def read
      row = Database.connection_pool.with_connection do |connection|
        connection.select_one(query("schema_migrations"))
      rescue ActiveRecord::StatementInvalid => error
        raise unless error.cause.is_a?(PG::UndefinedTable)
        connection.select_one(query("(SELECT '' AS version WHERE false) AS none"))
      end
      raise Standby, "the database is a standby; its answer could be old" if row["standby"]
      row
    end

    def query(migrations)
      <<~SQL
        SELECT pg_is_in_recovery() AS standby,
          md5(system_identifier || ':' || d.oid) AS database_id,
          (SELECT string_agg(version, ',') FROM #{migrations}) AS versions,
          (SELECT md5(string_agg(version, ',' ORDER BY version)) FROM #{migrations}) AS digest,
          EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.database = d.oid AND l.granted
            AND l.classid::bigint << 32 | l.objid::bigint = #{lock}) AS running
        FROM pg_control_system() JOIN pg_database d ON d.datname = current_database()
      SQL
    end

    # The number of the advisory lock that Rails holds while it migrates, whoever started it.
    def lock
      ActiveRecord::Migrator::MIGRATOR_SALT * Zlib.crc32(ActiveRecord::Base.connection_db_config.database)
    end

    # What this release ships, by version: 20260201120000_add_author_to_notes.rb.
    def shipped
      Dir["#{ROOT}/db/migrate/*.rb"].sort.map { |file| File.basename(file) }.to_h { |name| [name.to_i, name] }
    end

    def run(env)
      # A web page that the operator has open must not migrate; browsers name the page in every POST.
      return answer(403, error: "not from a web page") if env["HTTP_ORIGIN"]

      ActiveRecord::Base.connection_pool.with_connection { ActiveRecord::Tasks::DatabaseTasks.migrate }
      answer(200, status)
    rescue ActiveRecord::ConcurrentMigrationError => error
      answer(409, error: error.message.strip)
    rescue StandardError => error
      answer(422, error: error.message.strip)
    end

    def answer(code, body)
      [code, { "Content-Type" => "application/json", "Cache-Control" => "no-store" }, [JSON.generate(body) + "\n"]]
    end
  end
end
