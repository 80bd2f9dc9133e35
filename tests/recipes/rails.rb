# An application with sessions, around the endpoint of docs/embedding.md.
ENV["RAILS_ENV"] = "production" # in development, Rails has a page of its own at /
require "active_support/all"
require "action_controller/railtie"
require "jwt"

class Application < Rails::Application
  config.eager_load = false
  config.secret_key_base = "0" * 64
  config.hosts.clear
  config.logger = Logger.new($stderr)
end

TENANTS = { "session-acme" => "acme", "session-globex" => "globex", "session-lost" => nil }
User = Struct.new(:tenant_id)

class ApplicationController < ActionController::Base
  def current_user
    User.new(TENANTS[cookies[:session]]) if TENANTS.key?(cookies[:session])
  end

  def require_login
    head :unauthorized unless current_user
  end
end

Rails.application.initialize!

page = ->(_) { [200, { "Content-Type" => "text/html" }, [File.read(ENV.fetch("PAGE"))]] }
Rails.application.routes.append { get "/", to: page }

# RECIPE

begin
  require "rackup/handler/webrick" # Rack 3
  webrick = Rackup::Handler::WEBrick
rescue LoadError
  require "rack/handler/webrick"
  webrick = Rack::Handler::WEBrick
end
webrick.run(Rails.application, Host: "127.0.0.1", Port: ENV.fetch("PORT").to_i)
