<?php
// Who may come in is decided before: the front door lets only the owner through, and PostgreSQL knows this process by who it is.
if (!isset($_GET['pgsql']) && !isset($_GET['file'])) {
    header('Location: /?pgsql=&username={{ spec.user }}&db={{ application.options.database }}&ns=public');
    exit;
}

function adminer_object()
{
    $_SESSION['pwds']['pgsql']['']['{{ spec.user }}'] = '';
    class_alias(class_exists('Adminer\Adminer') ? 'Adminer\Adminer' : 'Adminer', 'AnyAdminer');
    class Owner extends AnyAdminer
    {
        function login($login, $password)
        {
            return true;
        }
    }
    return new Owner();
}

$_COOKIE['adminer_version'] = '0'; // it asks its home page for a newer one else
chdir('/usr/share/adminer');
require '/usr/share/adminer/adminer.php';
