# One process: lib/slotgate.rb listens in it, too.
bind "tcp://#{ENV.fetch("HOST", "127.0.0.1")}:#{ENV.fetch("PORT", 3000)}"
threads 5, 5
