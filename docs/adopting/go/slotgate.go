// The contract with slotgate, for a database that golang-migrate migrates.
package main

import (
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	_ "github.com/golang-migrate/migrate/v4/database/postgres"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/lib/pq"
)

//go:embed migrations/*.sql
var migrations embed.FS

//go:embed compat.json
var compatFile []byte

type schemaStatus struct {
	Current          int64    `json:"current_schema_version"`
	Min              int64    `json:"code_min_schema_version"`
	Max              int64    `json:"code_max_schema_version"`
	Compatible       bool     `json:"compatible"`
	Pending          []string `json:"pending_migrations"`
	Dirty            bool     `json:"dirty"`
	MigrationRunning bool     `json:"migration_running"`
	DatabaseID       string   `json:"database_id"`
	BootID           string   `json:"boot_id,omitempty"`
	Release          string   `json:"release,omitempty"`
}

// One statement, so one snapshot. golang-migrate keeps one row. It writes the new version with dirty = true before it
// runs a script and sets dirty = false after it, all under an advisory lock: dirty and locked is running, dirty and
// not locked was applied in part.
const statusQuery = `
	SELECT coalesce(m.version, 0), coalesce(m.dirty, false), pg_is_in_recovery(),
		md5(system_identifier || ':' || d.oid),
		EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.database = d.oid AND l.granted
			AND l.classid = 0 AND l.objid::bigint = $1 AND l.objsubid = 1)
	FROM pg_control_system() JOIN pg_database d ON d.datname = current_database()
	LEFT JOIN schema_migrations m ON true`

// The same without the table, which golang-migrate makes before the first migration.
var emptyQuery = strings.NewReplacer("LEFT JOIN schema_migrations m ON true", "",
	"coalesce(m.version, 0)", "0", "coalesce(m.dirty, false)", "false").Replace(statusQuery)

var errStandby = errors.New("the database is a standby; its answer could be old")

func readStatus(db *sql.DB) (*schemaStatus, error) {
	status := &schemaStatus{BootID: os.Getenv("SLOTGATE_BOOT_ID"), Release: os.Getenv("SLOTGATE_RELEASE")}
	if err := readRange(status); err != nil {
		return nil, err
	}
	lock, err := lockOf(db)
	if err != nil {
		return nil, err
	}
	var dirty, standby bool
	columns := []any{&status.Current, &dirty, &standby, &status.DatabaseID, &status.MigrationRunning}
	err = db.QueryRow(statusQuery, lock).Scan(columns...)
	if missing := (*pq.Error)(nil); errors.As(err, &missing) && missing.Code == "42P01" {
		err = db.QueryRow(emptyQuery, lock).Scan(columns...)
	}
	if err != nil {
		return nil, err
	}
	if standby {
		return nil, errStandby
	}
	status.Dirty = dirty && !status.MigrationRunning
	status.Pending = pending(status.Current)
	status.Compatible = status.Min <= status.Current && status.Current <= status.Max && !dirty
	return status, nil
}

func readRange(status *schemaStatus) error {
	var declared struct{ Min, Max int64 }
	err := json.Unmarshal(compatFile, &declared)
	status.Min, status.Max = declared.Min, declared.Max
	return err
}

// The number of golang-migrate's advisory lock. Opened by URL, as here and by its own command line, it takes the path of
// the URL for the name of the database, slash and all; opened by postgres.WithInstance, the name alone.
func lockOf(db *sql.DB) (string, error) {
	var name, schema string
	if err := db.QueryRow("SELECT current_database(), current_schema()").Scan(&name, &schema); err != nil {
		return "", err
	}
	return database.GenerateAdvisoryLockId("/"+name, schema, "schema_migrations")
}

// What this release ships above the current version: 000002_add_author.up.sql is version 2.
func pending(current int64) []string {
	names := []string{}
	files, _ := fs.Glob(migrations, "migrations/*.up.sql")
	for _, file := range files {
		name := strings.TrimPrefix(file, "migrations/")
		version, _ := strconv.ParseInt(strings.SplitN(name, "_", 2)[0], 10, 64)
		if version > current {
			names = append(names, name)
		}
	}
	return names
}

func internalHandler(db *sql.DB) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusOK, map[string]bool{"healthy": true})
	})
	mux.HandleFunc("/schema/status", func(w http.ResponseWriter, r *http.Request) {
		status, err := readStatus(db)
		if err != nil {
			answer(w, http.StatusServiceUnavailable, map[string]string{"error": err.Error()})
			return
		}
		answer(w, http.StatusOK, status)
	})
	mux.HandleFunc("/migrations/run", func(w http.ResponseWriter, r *http.Request) {
		// A web page that the operator has open must not migrate; browsers name the page in every POST.
		if r.Method != http.MethodPost || r.Header.Get("Origin") != "" {
			answer(w, http.StatusMethodNotAllowed, map[string]string{"error": "POST it, and not from a web page"})
			return
		}
		if err := runMigrations(); err != nil {
			answer(w, http.StatusUnprocessableEntity, map[string]string{"error": err.Error()})
			return
		}
		status, _ := readStatus(db)
		answer(w, http.StatusOK, status)
	})
	return mux
}

func runMigrations() error {
	files, err := iofs.New(migrations, "migrations")
	if err != nil {
		return err
	}
	m, err := migrate.NewWithSourceInstance("iofs", files, os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer m.Close()
	if err := m.Up(); err != nil && !errors.Is(err, migrate.ErrNoChange) {
		return err
	}
	return nil
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(body)
}
