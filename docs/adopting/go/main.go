// An app with two listeners: PORT for its clients, INTERNAL_PORT for slotgate and operators.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	_ "github.com/lib/pq"
)

func main() {
	// A pool of its own for each: a busy app must not take the connection that the status needs.
	app, status := open(), open()
	status.SetMaxOpenConns(2)

	public := &http.Server{Handler: publicHandler(app)}
	internal := &http.Server{Handler: internalHandler(status)}
	// The public port first: as soon as /healthz answers, requests may come.
	go serve(public, os.Getenv("PORT"))
	go serve(internal, os.Getenv("INTERNAL_PORT"))

	stop, done := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer done()
	<-stop.Done()
	public.Shutdown(context.Background())
	internal.Shutdown(context.Background())
}

func open() *sql.DB {
	db, err := sql.Open("postgres", os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	return db
}

func serve(server *http.Server, port string) {
	listener, err := net.Listen("tcp", net.JoinHostPort(os.Getenv("HOST"), port))
	if err == nil {
		err = server.Serve(listener)
	}
	if err != http.ErrServerClosed {
		log.Fatal(err)
	}
}

func publicHandler(db *sql.DB) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/notes", func(w http.ResponseWriter, r *http.Request) {
		var notes, authors int
		row := db.QueryRowContext(r.Context(), "SELECT count(*), count(DISTINCT author) FROM notes")
		if err := row.Scan(&notes, &authors); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(w, "%d notes by %d authors\n", notes, authors)
	})
	return mux
}
