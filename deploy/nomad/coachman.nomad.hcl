# nomad var put nomad/jobs/coachman shop_database_url=VALUE keys=@keys
# nomad job run coachman.nomad.hcl
#
# Made by `coachman export nomad`; docs/beyond-one-vm.md says what of it was run.
variable "image" {
  type    = string
  default = "registry.example/coachman:1"
}

job "coachman" {
  type = "service"

  update {
    max_parallel     = 1
    canary           = 1    # the old one goes once the new one is healthy
    auto_promote     = true
    auto_revert      = true
    health_check     = "checks"
    min_healthy_time = "2s"
    healthy_deadline = "2m"
  }

  group "web" {
    count = 2

    # On different machines where there are some. Twice the database connections of all must fit during an update.
    spread {
      attribute = "${node.unique.id}"
    }

    network {
      port "http" { to = 8000 }
      port "ops" { to = 9100 }
    }

    service {
      name     = "coachman"
      port     = "http"
      provider = "nomad"

      check {
        type     = "http"
        port     = "ops"
        path     = "/readyz"
        interval = "2s"
        timeout  = "2s"
      }

      # In place of the kubelet's liveness probe: a loop that stands still answers nobody.
      check {
        name     = "alive"
        type     = "http"
        port     = "ops"
        path     = "/livez"
        interval = "10s"
        timeout  = "5s"

        check_restart {
          limit = 3
          grace = "60s"
        }
      }
    }

    restart {
      attempts = 10
      interval = "5m"
      delay    = "1s"
      mode     = "delay"
    }

    # Migrates, and only then does "web" start. The first allocation does it; the others find it done.
    task "migrate" {
      driver = "docker"

      lifecycle {
        hook = "prestart"
      }

      config {
        image      = var.image
        entrypoint = ["python", "-m", "app", "migrate"]
      }

      env {
        SHOP_DATABASE_CONNECTIONS = "5"
        SHOP_KEYS_FILE            = "${NOMAD_SECRETS_DIR}/keys"
      }

      template {
        destination = "secrets/env"
        env         = true
        data        = "SHOP_DATABASE_URL={{ with nomadVar \"nomad/jobs/coachman\" }}{{ .shop_database_url }}{{ end }}"
      }

      template {
        destination = "secrets/keys"
        perms       = "444"
        data        = "{{ with nomadVar \"nomad/jobs/coachman\" }}{{ .keys }}{{ end }}"
      }

      resources {
        cpu    = 100
        memory = 256
      }
    }

    task "web" {
      driver = "docker"

      # Taken out of the service first; connections still come until every proxy knows. Then SIGTERM.
      shutdown_delay = "5s"
      kill_timeout   = "40s" # drain 20 s, the end of the lifespan 5 s, and margin; the client's maximum must allow it

      config {
        image           = var.image
        ports           = ["http", "ops"]
        readonly_rootfs = true
        cap_drop        = ["all"]
        security_opt    = ["no-new-privileges"]

        mount {
          type   = "tmpfs"
          target = "/run/coachman"
          tmpfs_options {
            size = 33554432
            mode = 511
          }
        }

        mount {
          type   = "tmpfs"
          target = "/tmp"
        }
      }

      env {
        COACHMAN_BODY_BYTES       = "1048576"
        COACHMAN_DRAIN_SECONDS    = "20"
        SHOP_DATABASE_CONNECTIONS = "5"
        SHOP_KEYS_FILE            = "${NOMAD_SECRETS_DIR}/keys"
      }

      template {
        destination = "secrets/env"
        env         = true
        data        = "SHOP_DATABASE_URL={{ with nomadVar \"nomad/jobs/coachman\" }}{{ .shop_database_url }}{{ end }}"
      }

      template {
        destination = "secrets/keys"
        perms       = "444"
        data        = "{{ with nomadVar \"nomad/jobs/coachman\" }}{{ .keys }}{{ end }}"
      }

      resources {
        cpu        = 500
        memory     = 192
        memory_max = 384
      }
    }
  }
}
