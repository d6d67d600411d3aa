@head@
#
# Made by `coachman export nomad`; docs/beyond-one-vm.md says what of it was run.
variable "image" {
  type    = string
  default = "@image@"
}

job "@name@" {
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
    count = @replicas@

    # On different machines where there are some. Twice the database connections of all must fit during an update.
    spread {
      attribute = "${node.unique.id}"
    }

    network {
      port "http" { to = 8000 }
      port "ops" { to = 9100 }
    }

    service {
      name     = "@name@"
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
          limit = @misses@
          grace = "@boot@s"
        }
      }
    }

    restart {
      attempts = 10
      interval = "5m"
      delay    = "1s"
      mode     = "delay"
    }

    @migration@
    task "web" {
      driver = "docker"

      # Taken out of the service first; connections still come until every proxy knows. Then SIGTERM.
      shutdown_delay = "5s"
      kill_timeout   = "@grace@s" # drain @drain@ s, the end of the lifespan 5 s, and margin; the client's maximum must allow it

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

      @environment@
      @templates@
      resources {
        cpu        = @millicpus@
        memory     = @half_memory@
        memory_max = @memory@
      }
    }
  }
}
