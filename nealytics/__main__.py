from nealytics.cli import main

main()
