# What Rails has here anyway, and one line more: whoever serves the app serves the contract with slotgate as well.
require_relative "config/application"

Slotgate.listen
run Rails.application
