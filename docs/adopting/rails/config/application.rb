# The smallest Rails app that has a database; yours is larger. The database is at DATABASE_URL.
require "logger"
require "rails"
require "active_record/railtie"
require "action_controller/railtie"

class Note < ActiveRecord::Base
end

class NotesController < ActionController::API
  def index
    render plain: "#{Note.count} notes by #{Note.distinct.count(:author)} authors\n"
  end
end

class NotesApp < Rails::Application
  config.eager_load = true
  config.hosts.clear
  config.secret_key_base = ENV.fetch("SECRET_KEY_BASE", "only for this sample")
  config.logger = Logger.new($stdout)
  routes.append { get "/notes", to: "notes#index" }
end

Rails.application.initialize!
require_relative "../lib/slotgate"
